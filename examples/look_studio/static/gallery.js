// The looks: one group an order, one card a look. A card is made once and changed in place.

import { $, make, many, pictureOf, price } from "./dom.js";
import { post } from "./api.js";

const STYLES = { iphone: "iPhone", selfie: "Selfie", podcast: "Podcast", car: "Car", conference: "Conference", raw: "Raw" };
const TITLES = {
  waiting: "Waiting for its turn",
  making: "In the making",
  failed: "Could not be made",
  refused: "Refused, not charged",
  unsent: "Not sent, not charged",
  unknown: "May have been charged",
  left: "Left, may have been charged",
};
const UNDER_WAY = new Set(["waiting", "making"]);
const TRIED_AGAIN = { failed: "Make it again", refused: "Try again", unsent: "Try again" };

export class Gallery {
  /** `startFrom(card)` makes a ready look the source of the next ones, `decide(card)` asks about an unknown. */
  constructor(startFrom, decide) {
    this.startFrom = startFrom;
    this.decide = decide;
    this.looks = new Map(); // card id → {card, element, order, madeAgain}
    this.orders = new Map(); // token → {title, told, list, section, again}
    $("undecided").addEventListener("click", () => this.nextUndecided().focus());
  }

  clear() {
    this.looks.clear();
    this.orders.clear();
    $("orders").replaceChildren();
  }

  /** Keep these cards only: an order that could not be saved is taken back. */
  keep(ids) {
    for (const [id, look] of this.looks) {
      if (ids.has(id)) continue;
      this.looks.delete(id);
      look.element.remove();
      if (look.order.list.childElementCount === 0) {
        look.order.section.remove();
        this.orders.delete(look.card.order);
      }
    }
    this.count();
  }

  /** Show a card, new or changed. */
  show(card) {
    const known = this.looks.get(card.id);
    if (known) {
      const before = known.card;
      known.card = card;
      if (before.state !== card.state || before.doubt !== card.doubt) this.fill(known);
    } else {
      this.add(card);
    }
    this.headline(this.looks.get(card.id).order);
    this.count();
  }

  /** A new card. One that makes another again stands beside that. */
  add(card) {
    const element = make("article", { class: "card", tabindex: "-1", "aria-label": title(card) });
    const original = this.looks.get(card.again);
    const look = { card, element, order: original?.order ?? this.order(card), madeAgain: false };
    this.looks.set(card.id, look);
    if (original) {
      original.madeAgain = true;
      original.element.after(element);
      this.fill(original);
    } else {
      look.order.list.append(element);
    }
    this.fill(look);
  }

  order(card) {
    let order = this.orders.get(card.order);
    if (!order) {
      const list = make("div", { class: "cards", "data-format": card.format });
      const title = make("h3");
      const told = make("p");
      const again = make("button", { type: "button", class: "quiet", hidden: true });
      const head = make("div", { class: "order-head" }, title, told, again);
      const section = make("section", { class: "order", "data-order": card.order }, head, list);
      order = { title, told, list, section, again };
      again.addEventListener("click", () => this.sendAgain(order));
      this.orders.set(card.order, order);
      $("orders").prepend(section);
    }
    return order;
  }

  /** The cards of an order. A failed one that is made again counts as that. */
  cardsOf(order) {
    return [...this.looks.values()].filter((look) => look.order === order && !look.madeAgain).map((look) => look.card);
  }

  headline(order) {
    const cards = this.cardsOf(order);
    const [first] = cards;
    const ready = cards.filter((card) => card.state === "ready").length;
    const unsent = cards.filter((card) => card.state === "unsent");
    const time = new Date(first.at).toLocaleString([], { dateStyle: isToday(first.at) ? undefined : "medium", timeStyle: "short" });
    order.title.textContent = first.kind === "edit" ? many(cards.length, "look") : "New avatar";
    const options = first.kind === "images" ? ["From pictures"] : [STYLES[first.style], first.resolution];
    order.told.textContent = [time, ...options, `${ready} of ${cards.length} ready`].filter(Boolean).join(" · ");
    order.again.hidden = unsent.length < 2;
    order.again.textContent = `Try all ${unsent.length} again · ${price(sum(unsent))}`;
  }

  /** Send all looks of an order that were not sent. */
  async sendAgain(order) {
    order.again.disabled = true;
    for (const card of this.cardsOf(order).filter((card) => card.state === "unsent")) {
      const button = this.looks.get(card.id).element.querySelector("[data-again]");
      if (button && !(await tryAgain(card, button))) break;
    }
    order.again.disabled = false;
  }

  count() {
    const looks = [...this.looks.values()].filter((look) => !look.madeAgain);
    const number = (...states) => looks.filter(({ card }) => states.includes(card.state)).length;
    const parts = [
      [number("ready"), "ready"],
      [number("waiting", "making"), "under way"],
      [number("unknown"), "to decide"],
      [number("left"), "left"],
      [number("failed", "refused", "unsent"), "not made"],
    ];
    const text = parts.filter(([count, what]) => count || what === "ready").map((part) => part.join(" ")).join(" · ");
    $("count").textContent = looks.length ? text : "";
    $("empty").hidden = looks.length > 0;
    const undecided = looks.filter(({ card }) => card.state === "unknown" && card.doubt).length;
    $("undecided").hidden = undecided === 0;
    $("undecided").textContent = `Decide about ${many(undecided, "look")}`;
    return $("count").textContent;
  }

  nextUndecided() {
    return $("orders").querySelector("[data-state=unknown] [data-decide]");
  }

  /** Bring an order into view, where it is not. */
  reveal(card) {
    const section = this.looks.get(card.id)?.order.section;
    if (section && section.getBoundingClientRect().top > innerHeight - 80) section.scrollIntoView({ block: "start" });
  }

  /** Draw a card. The focus stays in it. */
  fill(look) {
    const { card, element } = look;
    const focused = element.contains(document.activeElement);
    element.dataset.state = card.state;
    const frame = make("div", { class: "frame" });
    const actions = make("div", { class: "actions" });
    if (card.state === "ready") {
      frame.append(...picture(card, actions));
      actions.append(this.edit(card), download(card));
    } else {
      frame.append(this.state(look));
    }
    const took = card.state === "ready" && card.seconds >= 1 ? make("span", {}, `${Math.round(card.seconds)} s`) : null;
    element.replaceChildren(frame, make("p", { class: "title" }, card.name, took), prompt(card), actions);
    if (focused) (element.querySelector(".state button, .actions button") ?? element).focus();
  }

  /** What a card without a picture shows, and what can be done about it. */
  state({ card, madeAgain }) {
    const box = make("div", { class: "state" });
    if (UNDER_WAY.has(card.state)) {
      box.append(make("span", { class: "spin", "aria-hidden": "true" }), TITLES[card.state]);
      return box;
    }
    box.append(make("b", {}, TITLES[card.state]));
    if (card.reason) box.append(make("span", { class: "reason" }, card.reason));
    if (madeAgain) box.append(make("span", {}, "It is made again beside this."));
    else if (TRIED_AGAIN[card.state]) box.append(again(card, TRIED_AGAIN[card.state]));
    else if (card.doubt) box.append(this.decision(card));
    return box;
  }

  decision(card) {
    const word = card.state === "left" ? "Make it again …" : "Decide …";
    return action(word, card, { "data-decide": true, "aria-haspopup": "dialog" }, () => this.decide(card));
  }

  edit(card) {
    return action("Edit", card, {}, () => this.startFrom(card));
  }
}

const title = (card) => [card.name, card.prompt].filter(Boolean).join(": ");
const sum = (cards) => cards.reduce((total, card) => total + Number(card.credits), 0);
const isToday = (moment) => new Date(moment).toDateString() === new Date().toDateString();

/** A button of a card. Its name for screen readers says which card. */
function action(word, card, attributes, clicked) {
  const button = make("button", { type: "button", class: "quiet", "aria-label": `${word}: ${title(card)}`, ...attributes }, word);
  button.addEventListener("click", clicked);
  return button;
}

function download(card) {
  const address = `${pictureOf(card.id)}?download=${encodeURIComponent(title(card))}`;
  return make("a", { class: "quiet", href: address, download: "", "aria-label": `Download: ${title(card)}` }, "Download");
}

/** The prompt; a long one opens when it is pressed. */
function prompt(card) {
  if (card.prompt.length < 60) return make("p", { class: "prompt", dir: "auto" }, card.prompt);
  return make("details", { class: "prompt", dir: "auto" }, make("summary", {}, card.prompt));
}

function picture(card, actions) {
  const spin = make("span", { class: "spin", "aria-hidden": "true" });
  const image = make("img", { src: pictureOf(card.id), alt: title(card), decoding: "async" });
  const link = make("a", { href: pictureOf(card.id), target: "_blank", rel: "noopener", "aria-label": `Open the picture of ${title(card)}` });
  image.addEventListener("load", () => {
    image.classList.add("loaded");
    spin.remove();
  });
  image.addEventListener("error", () => {
    const fetchAgain = action("Fetch it again", card, {}, () => missing.parentElement.replaceChildren(...picture(card, actions)));
    const missing = make("div", { class: "state" }, "It is ready, but its picture can't be fetched now.", fetchAgain);
    link.replaceWith(missing);
    spin.remove();
    image.remove();
  });
  return [spin, image, link];
}

function again(card, word) {
  const label = `${word} · ${price(card.credits)}`;
  return action(label, card, { "data-again": true }, (event) => tryAgain(card, event.target));
}

/** Try a card again. Whether that was accepted; else its card says why not. */
async function tryAgain(card, button) {
  button.disabled = true;
  const told = button.previousElementSibling?.matches("[role=alert]") ? button.previousElementSibling : null;
  told?.remove();
  try {
    await post(`/api/cards/${encodeURIComponent(card.id)}/again`);
    return true;
  } catch (error) {
    button.disabled = false;
    button.before(make("span", { role: "alert" }, error.message));
    return false;
  }
}
