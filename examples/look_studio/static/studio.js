// The page: hears the server's events, fills the forms' cost in, sends them.

import { $, later, many, span, tell } from "./dom.js";
import { Estimate, Token, post } from "./api.js";
import { Avatars } from "./avatars.js";
import { Gallery } from "./gallery.js";

const gallery = new Gallery();
const avatars = new Avatars(() => looks.changed());

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
    this.soon();
  }

  async price() {
    const body = this.read(this.token.value);
    this.fits = false;
    if (body === null) {
      this.estimate.stop();
      this.say(this.hint);
    } else {
      try {
        const found = await this.estimate.of(body);
        if (found === undefined) return;
        this.fits = found.fits;
        this.say(...worded(found));
      } catch (error) {
        this.say(error.message, true);
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
    try {
      const { cards } = await post(this.path, body);
      this.token.renew();
      this.taken(cards);
    } catch (error) {
      tell(this.error, error.message);
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
      gallery.reveal(cards[0].order);
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
  $("who-name").value = $("customer").textContent;
  tell($("who-error"), "");
  $("who-dialog").showModal();
  $("who-name").select();
});
$("who-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await post("/api/customer", { name: $("who-name").value });
    $("who-dialog").close();
    listen();
  } catch (error) {
    tell($("who-error"), error.message);
  }
});
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

// --- what the server tells

function show(card) {
  if (card.kind === "edit") gallery.show(card);
  else avatars.show(card);
}

/** A card of an answer: the events may have told more of it already. */
function showNew(card) {
  if (!gallery.cards.has(card.id) && !avatars.own.has(card.id)) show(card);
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

let events = null;
let customer = null;
let pause = 0;

function listen() {
  events?.close();
  events = new EventSource("/api/events");
  const on = (name, action) => events.addEventListener(name, (event) => action(JSON.parse(event.data)));
  on("state", (state) => {
    tell($("banner"), "");
    $("sandbox").hidden = !state.sandbox;
    $("customer").textContent = state.customer;
    if (customer !== state.customer) avatars.clear();
    customer = state.customer;
    gallery.clear();
    gallery.count();
    state.cards.forEach(show);
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
    tell($("banner"), "The connection to the server is lost. Trying again …");
  });
}

let faces = false;

async function loadFaces() {
  if (faces) return;
  faces = true;
  try {
    const answer = await fetch("/api/faces");
    if (answer.ok) avatars.showFaces(await answer.json());
  } catch {
    // no catalogue: own avatars are enough
  }
}

listen();
