// The page: hears the server's events, fills the forms' cost in, sends them.

import { $, later, make, many, span, tell } from "./dom.js";
import { Estimate, Token, get, post, workAs } from "./api.js";
import { Avatars } from "./avatars.js";
import { Decision } from "./decision.js";
import { Gallery } from "./gallery.js";

const avatars = new Avatars(() => looks.changed());
const decision = new Decision(sourceOf);
const gallery = new Gallery(startFrom, (card) => decision.open(card));

/** A form with its cost: estimated while it is filled in, sent once under one token. */
class PaidForm {
  constructor(form, path, read, places) {
    Object.assign(this, { form, path, read, ...places, token: new Token(), estimate: new Estimate(`${path}/estimate`) });
    this.sending = false;
    this.fits = false;
    this.soon = later(() => this.price(), 150);
    form.addEventListener("input", (event) => event.target.name !== "avatar" && this.changed());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
  }

  /** Something else is in the form now: it would be another order. */
  changed() {
    this.token.renew();
    tell(this.error, "");
    this.fits = false;
    this.button.disabled = true;
    this.soon();
  }

  async price() {
    const body = this.read(this.token.value);
    if (body === null) {
      this.estimate.stop();
      this.fits = false;
      this.say(this.hint);
    } else {
      const slow = setTimeout(() => this.say("Working out the cost …"), 500);
      try {
        const found = await this.estimate.of(body);
        if (found === undefined) return;
        this.fits = found.fits;
        this.say(...worded(found));
      } catch (error) {
        this.fits = false;
        this.say(error.unanswered ? "The cost is shown when the server answers again." : error.message, true);
      } finally {
        clearTimeout(slow);
      }
    }
    this.button.disabled = !this.fits || this.sending;
  }

  say(text, over = false) {
    this.cost.replaceChildren(...[text].flat());
    this.cost.toggleAttribute("data-over", over);
  }

  async send() {
    const body = this.read(this.token.value);
    if (body === null || this.sending || !this.fits) return;
    this.sending = this.button.disabled = true;
    tell(this.error, "");
    tell($("notice-text"), "");
    $("notice").hidden = true;
    this.say("Sending …");
    try {
      const { cards } = await post(this.path, body);
      this.token.renew();
      this.taken(cards);
    } catch (error) {
      if (!error.toldAlready) tell(this.error, error.message);
    }
    this.sending = false;
    this.price();
  }
}

function worded({ looks: count, credits, seconds, left, fits }) {
  const bold = document.createElement("b");
  bold.textContent = many(credits, "credit");
  if (!fits) return [[`${many(count, "look")} cost `, bold, `, and ${left} are left.`], true];
  return [[bold, ` for ${many(count, "look")}, about ${span(seconds)}`]];
}

const chosen = (form, name) => form.elements[name].value;
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

const looks = new PaidForm(
  $("form"),
  "/api/looks",
  (token) => {
    const form = $("form");
    const scenes = form.elements.scenes.value;
    if (!avatars.refs.length || !lines(scenes).length) return null;
    const style = chosen(form, "style") || null;
    return { token, avatars: avatars.refs, scenes, style, format: chosen(form, "format"), resolution: chosen(form, "resolution") };
  },
  {
    cost: $("cost"), error: $("error"), button: $("start"),
    hint: "Choose an avatar and write a scene.",
    taken(cards) {
      $("scenes").value = "";
      announce(`${many(cards.length, "look")} started.`);
      cards.forEach(showNew);
      gallery.reveal(cards[0]);
    },
  },
);

const avatarForm = $("avatar-form");
const creation = new PaidForm(
  avatarForm,
  "/api/avatars",
  (token) => {
    const name = chosen(avatarForm, "name");
    if (chosen(avatarForm, "from") === "images") {
      const urls = lines(chosen(avatarForm, "image_urls"));
      return urls.length ? { token, name, image_urls: urls } : null;
    }
    const prompt = chosen(avatarForm, "prompt").trim();
    const [style, format, resolution] = ["style", "format", "resolution"].map((field) => chosen(avatarForm, field));
    return prompt ? { token, name, prompt, style, format, resolution } : null;
  },
  {
    cost: $("avatar-cost"), error: $("avatar-error"), button: avatarForm.querySelector("[type=submit]"),
    hint: "Describe a person, or give pictures of one, to see the cost.",
    taken([card]) {
      $("avatar-dialog").close();
      avatarForm.reset();
      madeFrom();
      showNew(card);
      avatars.want(card.id);
      announce(`${card.name} is being made.`);
    },
  },
);

// --- dialogs

function madeFrom() {
  const images = chosen(avatarForm, "from") === "images";
  avatarForm.querySelector(".when-images").hidden = !images;
  avatarForm.querySelector(".when-prompt").hidden = images;
}
avatarForm.addEventListener("change", madeFrom);
$("new").addEventListener("click", () => {
  $("avatar-dialog").showModal();
  creation.price();
});
$("who").addEventListener("click", () => {
  $("who-name").value = "";
  $("who-name").placeholder = customer;
  tell($("who-error"), "");
  $("who-dialog").showModal();
});
$("who-form").addEventListener("submit", (event) => {
  event.preventDefault();
  change($("who-name").value);
});

/** Work as somebody else, in all tabs. */
async function change(name) {
  try {
    await post("/api/customer", { name });
    known = true;
    otherTabs.postMessage("customer");
    $("who-dialog").close();
    listen();
  } catch (error) {
    tell($("who-error"), error.message);
  }
}

function nameButton(name) {
  const button = make("button", { type: "button", class: "quiet" }, name);
  button.addEventListener("click", () => change(name));
  return button;
}
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

// --- what the server tells

function show(card) {
  gallery.show(card);
  if (card.kind !== "edit") avatars.show(card);
  decision.changed(card);
}

/** A card of an answer: the events may have told more of it already. */
function showNew(card) {
  if (!gallery.looks.has(card.id)) show(card);
}

/** Make the next looks from this one. */
function startFrom(card) {
  avatars.startFrom(card);
  $("form").elements.format.value = card.format;
  looks.changed();
  $("scenes").focus();
  announce(`The next looks start from ${card.name}: ${card.prompt}`);
}

/** The id of the picture of a look, if the page has it. */
function sourceOf(ref) {
  const own = [...gallery.looks.values()].find(({ card }) => card.ref === ref && card.state === "ready");
  return own?.card.id ?? avatars.faces.get(ref)?.id;
}

function showCredits({ left, cap }) {
  $("credits").textContent = `${left} of ${many(cap, "credit")} left`;
  $("meter").max = Number(cap) || 1;
  $("meter").value = Number(left);
  looks.soon();
}

function announce(text) {
  $("live").textContent = text;
}
const announceCount = later(() => announce(gallery.count()), 2000);

// --- whom the page shows: the same customer in all tabs of a browser

const otherTabs = new BroadcastChannel("look-studio");
let customer = null;
let known = false; // the user knows of the next change: it was made here, or told already
otherTabs.addEventListener("message", () => follow());
window.addEventListener("othercustomer", (event) => follow(event.detail));
$("notice-ok").addEventListener("click", () => ($("notice").hidden = true));

/** Another tab has changed the customer. What is typed stays; what is chosen was the other customer's. */
function follow(message) {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  if (message) notice(message);
  known = Boolean(message);
  listen();
}

function notice(message) {
  $("notice").hidden = false;
  tell($("notice-text"), message);
}

/** Show this customer, whom the server named. */
function become(name) {
  if (customer !== name) {
    avatars.clear();
    gallery.clear();
    looks.changed();
    creation.changed();
    if (customer !== null && !known) notice(`Another tab changed from ${customer} to ${name}. This tab shows ${name} now.`);
  }
  customer = name;
  known = false;
  workAs(name);
  remember(name);
  $("customer").textContent = name;
  document.title = name === "Guest" ? "Look Studio" : `${name} · Look Studio`;
}

/** Offer the names that this browser has worked as. */
function remember(name) {
  try {
    const names = JSON.parse(localStorage.getItem("customers") ?? "[]");
    const all = [name, ...names.filter((other) => other !== name)].slice(0, 12);
    localStorage.setItem("customers", JSON.stringify(all));
    $("who-names").replaceChildren(...all.slice(1).map(nameButton));
  } catch {
    // the browser keeps nothing for this page
  }
}

let events = null;
let pause = 0;

/** Open the stream of events. A hidden tab has none, since a browser opens only six to one server. */
function listen() {
  events?.close();
  if (document.hidden) return;
  events = new EventSource("/api/events");
  const on = (name, action) => events.addEventListener(name, (event) => action(JSON.parse(event.data)));
  on("state", (state) => {
    tell($("banner"), "");
    $("sandbox").hidden = !state.sandbox;
    become(state.customer);
    state.cards.forEach(show);
    gallery.keep(new Set(state.cards.map((card) => card.id)));
    showCredits(state.credits);
    document.documentElement.dataset.live = "yes";
    loadFaces();
  });
  on("card", (card) => {
    show(card);
    announceCount();
  });
  on("credits", showCredits);
  on("paused", ({ seconds }) => {
    clearTimeout(pause);
    tell($("banner"), `The workspace's quota is spent for now. It goes on by itself in ${span(seconds)}.`);
    pause = setTimeout(() => tell($("banner"), ""), seconds * 1000);
  });
  events.addEventListener("error", () => {
    delete document.documentElement.dataset.live;
    tell($("banner"), "The connection to the server is lost. Trying again … What was started goes on there.");
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000); // it was refused: the browser gives up
  });
}
document.addEventListener("visibilitychange", () => {
  if (document.hidden) events?.close();
  else listen();
});

let faces = false;

async function loadFaces() {
  if (faces) return;
  faces = true;
  try {
    avatars.showFaces(await get("/api/faces"));
    tell($("faces-error"), "");
  } catch (error) {
    faces = false; // the next connection tries again
    tell($("faces-error"), `The public catalogue cannot be read now: ${error.message}`);
  }
}

listen();
