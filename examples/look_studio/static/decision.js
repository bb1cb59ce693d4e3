// The dialog in which an unknown is settled: its prompt beside the looks that may be it.

import { $, ago, make, pictureOf, price, tell } from "./dom.js";
import { get, post } from "./api.js";

export class Decision {
  /** `sourceOf(ref)` is the id of the picture of a look that was edited, if the page has it. */
  constructor(sourceOf) {
    this.sourceOf = sourceOf;
    this.card = null;
    this.doubt = null; // the loss that the dialog was opened about
    this.sending = false;
    this.dialog = $("doubt-dialog");
    $("doubt-look").addEventListener("click", () => this.look());
    $("doubt-again").addEventListener("click", () => this.decide({ choice: "again" }));
    $("doubt-leave").addEventListener("click", () => this.decide({ choice: "leave" }));
    this.dialog.addEventListener("close", () => this.closed());
  }

  open(card) {
    this.card = card;
    this.doubt = card.doubt;
    this.article = document.activeElement.closest("article");
    const cost = price(card.credits);
    const may = Number(card.credits) ? `It may have cost ${cost}.` : "It costs nothing.";
    const source = this.sourceOf(card.source);
    const left = card.state === "left";
    $("doubt-title").textContent = left ? "Make it again?" : "Was this look made?";
    $("doubt-told").textContent = left ? `You left it, as it is not known whether it was made. ${may}` : `It was sent, and the answer was lost. ${may}`;
    $("doubt-name").textContent = card.name;
    $("doubt-prompt").textContent = card.prompt || "From pictures";
    $("doubt-source").replaceChildren(...(source ? [make("img", { src: pictureOf(source), alt: "The look that was to be edited" })] : []));
    $("doubt-again-cost").textContent = Number(card.credits)
      ? `Costs ${cost} more: ${price(2 * card.credits)} in all, if it was charged before.`
      : "Costs nothing. There may then be two of it.";
    $("doubt-leave-cost").textContent = Number(card.credits)
      ? `Costs nothing more. The ${cost} that it may have cost stay counted.`
      : "Costs nothing.";
    $("doubt-sent").textContent = "";
    for (const part of this.dialog.querySelectorAll("[data-unknown]")) part.hidden = left;
    $("doubt-list").replaceChildren();
    this.enable(true);
    tell($("doubt-error"), "");
    this.dialog.showModal();
    $("doubt-title").focus();
    if (!left) this.look();
  }

  /** The focus goes back to the card, whose button may be gone. */
  closed() {
    this.card = null;
    (this.article?.querySelector("[data-decide]") ?? this.article)?.focus();
  }

  /** Read what it may have made. */
  async look() {
    const { card } = this;
    $("doubt-look").disabled = true;
    $("doubt-note").textContent = "Looking for it …";
    try {
      const found = await get(`/api/cards/${encodeURIComponent(card.id)}/candidates`);
      if (this.card?.id === card.id) this.show(found);
    } catch (error) {
      if (this.card?.id === card.id) $("doubt-note").textContent = `It cannot be looked for now: ${error.message}`;
    }
    $("doubt-look").disabled = false;
  }

  show({ sent, candidates, older }) {
    $("doubt-sent").textContent = sent ? `Sent ${ago(sent)}.` : "";
    $("doubt-list").replaceChildren(...candidates.map((candidate, index) => this.candidate(candidate, index)));
    const found = candidates.length
      ? "Compare them with what you asked for. Choosing one costs nothing more."
      : "No look has appeared that it could be. It may still appear: that takes a minute or so.";
    const left = older ? ` ${older === 1 ? "One look is" : `${older} looks are`} left out, as they were there before.` : "";
    $("doubt-note").textContent = found + left;
    this.enable(this.card.doubt === this.doubt);
  }

  candidate({ ref, name, picture, failed, seen, made }, index) {
    const age = Date.parse(made) ? `made ${ago(made)}` : `first seen ${ago(seen)}`; // words that are no date are left out
    const frame = make("div", { class: "frame" });
    if (picture) frame.append(make("img", { class: "loaded", src: pictureOf(picture), alt: `Look ${index + 1}: ${name ?? ref}` }));
    else frame.append(make("p", { class: "state" }, failed ? "Could not be made" : "Still in the making"));
    const button = make("button", { type: "button", class: "quiet", "data-decision": true, "aria-label": `This is it: look ${index + 1}, ${age}` }, "This is it");
    button.addEventListener("click", () => this.decide({ choice: "this", look: ref }));
    return make("li", { class: "card" }, frame, make("p", { class: "hint" }, capital(age)), button);
  }

  async decide(choice) {
    const { card } = this;
    this.sending = true;
    this.enable(false);
    $("doubt-note").textContent = "Sending your decision …";
    tell($("doubt-error"), "");
    try {
      await post(`/api/cards/${encodeURIComponent(card.id)}/decision`, { doubt: this.doubt, ...choice });
      if (this.card?.id === card.id) this.dialog.close();
    } catch (error) {
      if (this.card?.id !== card.id) return;
      this.fail(error.message);
      $("doubt-note").textContent = "";
      this.enable(this.card.doubt === this.doubt);
    } finally {
      this.sending = false;
    }
  }

  /** A card has changed: by this dialog, in another tab, or since its look was found. */
  changed(card) {
    if (card.id !== this.card?.id) return;
    this.card = card;
    if (this.sending) return;
    this.enable(card.doubt === this.doubt);
    if (card.doubt !== this.doubt && (card.doubt || card.state !== "unknown")) {
      this.fail("It was decided in another tab, or its look was found. Close this to see it.");
    }
  }

  fail(message) {
    tell($("doubt-error"), message);
    $("doubt-error").scrollIntoView({ block: "nearest" });
  }

  enable(can) {
    for (const button of this.dialog.querySelectorAll("[data-decision]")) button.disabled = !can;
  }
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);
