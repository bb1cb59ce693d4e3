// The looks to start from: the customer's avatars, looks chosen in the gallery, then the public catalogue.

import { $, make, pictureOf, sign } from "./dom.js";

const WORDS = { waiting: "waiting", making: "in the making" };
const TICK = "M5 13l5 5L19 7";

export class Avatars {
  /** `changed` is called when another choice was made. */
  constructor(changed) {
    this.changed = changed;
    this.own = new Map(); // card id → tile
    this.faces = new Map(); // ref → face
    this.chosen = new Set(); // refs
    this.wanted = new Set(); // ids of cards to choose once they are ready
  }

  clear() {
    for (const tile of this.own.values()) tile.remove();
    this.own.clear();
    this.chosen.clear();
    this.wanted.clear();
    for (const box of $("faces").querySelectorAll("input")) box.checked = false;
    this.changed();
  }

  /** The refs of the chosen ones. */
  get refs() {
    return [...this.chosen];
  }

  /** Show a card of a new avatar, new or changed. One that could not be made is in the gallery only. */
  show(card) {
    const known = this.own.get(card.id);
    if (known?.dataset.state === card.state) return;
    if (card.state !== "ready" && !WORDS[card.state]) {
      known?.remove();
      this.own.delete(card.id);
      return;
    }
    this.put(card, card.name);
  }

  /** Start from one look of the gallery, and from nothing else. */
  startFrom(card) {
    for (const box of document.querySelectorAll("input[name=avatar]:checked")) box.click();
    if (!this.own.has(card.id)) this.put(card, card.kind === "edit" ? `${card.name}: ${card.prompt}` : card.name);
    check(this.own.get(card.id));
  }

  put(card, label) {
    const tile = this.tile(card.name, label, card.state === "ready" ? card : null, card.id);
    tile.dataset.state = card.state;
    if (card.state !== "ready") unfinished(tile, card);
    const known = this.own.get(card.id);
    if (known) known.replaceWith(tile);
    else $("new").after(tile);
    this.own.set(card.id, tile);
    if (card.state === "ready" && this.wanted.delete(card.id)) check(tile);
  }

  /** Choose an avatar, as soon as it is ready. */
  want(id) {
    const tile = this.own.get(id);
    if (tile?.dataset.state === "ready") check(tile);
    else this.wanted.add(id);
  }

  /** Show the public catalogue; open while there is nothing else to choose. */
  showFaces(faces) {
    this.faces = new Map(faces.map((face) => [face.ref, face]));
    $("faces").replaceChildren(...faces.map((face) => this.tile(face.name, face.name, face, face.id)));
    $("catalogue").hidden = faces.length === 0;
    $("catalogue").open = this.own.size === 0;
  }

  tile(name, label, source, id) {
    const box = make("input", { type: "checkbox", name: "avatar", value: source?.ref ?? "", disabled: !source, "aria-label": label });
    box.checked = Boolean(source) && this.chosen.has(source.ref);
    box.addEventListener("change", () => this.choose(box.value, box.checked));
    const face = make("span", { class: "face" });
    if (source) face.append(make("img", { src: pictureOf(id), alt: "", loading: "lazy" }));
    face.append(make("span", { class: "tick", "aria-hidden": "true" }, sign(TICK)));
    return make("label", { class: "tile", title: label }, box, face, make("span", { class: "name" }, name));
  }

  choose(ref, wanted) {
    if (wanted) this.chosen.add(ref);
    else this.chosen.delete(ref);
    this.changed();
  }
}

function check(tile) {
  const box = tile.querySelector("input");
  if (!box.checked) box.click();
}

function unfinished(tile, card) {
  tile.querySelector(".face").prepend(make("span", { class: "spin", "aria-hidden": "true" }));
  tile.querySelector("input").setAttribute("aria-label", `${card.name}, ${WORDS[card.state]}`);
  tile.title = `${card.name}: ${WORDS[card.state]}`;
}
