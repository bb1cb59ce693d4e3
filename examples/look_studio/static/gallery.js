// The looks: one group an order, one card a look. A card is made once and changed in place.

import { $, make, many } from "./dom.js";
import { post } from "./api.js";

const STYLES = { iphone: "iPhone", selfie: "Selfie", podcast: "Podcast", car: "Car", conference: "Conference", raw: "Raw" };
const TITLES = {
  waiting: "Waiting for its turn",
  making: "In the making",
  failed: "Could not be made",
  refused: "Refused, not charged",
  unsent: "Not sent, not charged",
  unknown: "May have been charged",
};
const UNDER_WAY = new Set(["waiting", "making"]);

export class Gallery {
  constructor() {
    this.cards = new Map(); // id → {card, element}
    this.orders = new Map(); // token → {cards, head, list}
  }

  clear() {
    this.cards.clear();
    this.orders.clear();
    $("orders").replaceChildren();
  }

  /** Show a card, new or changed. */
  show(card) {
    const known = this.cards.get(card.id);
    if (known) {
      const before = known.card.state;
      known.card = card;
      if (before !== card.state) fill(known.element, card);
    } else {
      const element = make("article", { class: "card" });
      this.cards.set(card.id, { card, element });
      const order = this.order(card);
      order.cards.push(card.id);
      order.list.append(element);
      fill(element, card);
    }
    this.headline(card.order);
    this.count();
  }

  order(card) {
    let order = this.orders.get(card.order);
    if (!order) {
      const list = make("div", { class: "cards", "data-format": card.format });
      const title = make("h3");
      const told = make("p");
      const section = make("section", { class: "order", "data-order": card.order }, make("div", { class: "order-head" }, title, told), list);
      order = { cards: [], title, told, list, section };
      this.orders.set(card.order, order);
      $("orders").prepend(section);
    }
    return order;
  }

  headline(token) {
    const order = this.orders.get(token);
    const cards = order.cards.map((id) => this.cards.get(id).card);
    const [first] = cards;
    const ready = cards.filter((card) => card.state === "ready").length;
    const time = new Date(first.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    order.title.textContent = many(cards.length, "look");
    const parts = [time, STYLES[first.style], first.resolution, `${ready} of ${cards.length} ready`];
    order.told.textContent = parts.filter(Boolean).join(" · ");
  }

  count() {
    const states = [...this.cards.values()].map(({ card }) => card.state);
    const ready = states.filter((state) => state === "ready").length;
    const open = states.filter((state) => UNDER_WAY.has(state)).length;
    const parts = [`${ready} ready`, open && `${open} under way`, states.length - ready - open && `${states.length - ready - open} not made`];
    const text = states.length ? parts.filter(Boolean).join(" · ") : "";
    $("count").textContent = text;
    $("empty").hidden = states.length > 0;
    return text;
  }

  /** Bring an order into view, where it is not. */
  reveal(token) {
    const section = this.orders.get(token)?.section;
    if (section && section.getBoundingClientRect().top > innerHeight - 80) section.scrollIntoView({ block: "start" });
  }
}

function fill(element, card) {
  element.dataset.state = card.state;
  const frame = make("div", { class: "frame" });
  if (card.state === "ready") frame.append(...picture(card));
  else frame.append(state(card));
  const took = card.state === "ready" && card.seconds >= 1 ? make("span", {}, `${Math.round(card.seconds)} s`) : null;
  element.replaceChildren(
    frame,
    make("p", { class: "title" }, card.name, took),
    make("p", { class: "prompt", title: card.prompt }, card.prompt),
  );
}

function picture(card) {
  const address = `/pictures/${encodeURIComponent(card.id)}`;
  const label = `${card.name}: ${card.prompt}`;
  const spin = make("span", { class: "spin", "aria-hidden": "true" });
  const image = make("img", { src: address, alt: label, decoding: "async" });
  const link = make("a", { href: address, target: "_blank", rel: "noopener", "aria-label": `Open the picture of ${label}` });
  image.addEventListener("load", () => {
    image.classList.add("loaded");
    spin.remove();
  });
  image.addEventListener("error", () => {
    spin.replaceWith(make("p", { class: "state" }, "It is ready, but its picture can't be fetched now."));
    image.remove();
  });
  return [spin, image, link];
}

function state(card) {
  const box = make("div", { class: "state" });
  if (UNDER_WAY.has(card.state)) box.append(make("span", { class: "spin", "aria-hidden": "true" }));
  box.append(UNDER_WAY.has(card.state) ? TITLES[card.state] : make("b", {}, TITLES[card.state]));
  if (card.reason) box.append(make("span", {}, card.reason));
  if (card.state === "unsent") box.append(again(card));
  return box;
}

function again(card) {
  const button = make("button", { type: "button", class: "quiet" }, "Try again");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await post(`/api/cards/${encodeURIComponent(card.id)}/again`);
    } catch (error) {
      button.disabled = false;
      button.replaceWith(make("span", { role: "alert" }, error.message), button);
    }
  });
  return button;
}
