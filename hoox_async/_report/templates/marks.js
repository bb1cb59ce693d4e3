// Marks on ready looks, picked or turned down ("rejected" in the file): kept by the browser, and saved as a file for `--only @picks.json`.
const marks = (() => {
  const kept = new Kept("marks");
  const cards = [...document.querySelectorAll(".card[data-state=ready]")];
  const keyOf = (card) => card.dataset.key;

  // A mark belongs to one look: a look that was made anew under the same key has none.
  const of = (card) => {
    if (card.dataset.state !== "ready") return null;
    const entry = kept.values.get(keyOf(card));
    return entry && entry.ref === card.dataset.ref ? entry.mark : "none";
  };

  function toggle(card, mark) {
    const now = of(card);
    if (now === null) return;
    kept.put(keyOf(card), now === mark ? null : { mark, ref: card.dataset.ref });
    showOn(card, card);
    showCounts();
    $("then-picks").hidden = true; // what was saved is not what is marked now
  }

  // Show the card's mark on the buttons in `node`: those of the card, or of the viewer.
  function showOn(card, node) {
    const mark = of(card);
    for (const button of node.querySelectorAll("[data-mark]")) {
      button.setAttribute("aria-pressed", button.dataset.mark === mark);
    }
    card.classList.toggle("picked", mark === "picked");
    card.classList.toggle("turned-down", mark === "rejected");
  }

  function addButtons(card) {
    const nodes = $("mark-buttons").content.cloneNode(true);
    const key = keyOf(card);
    for (const button of nodes.children) {
      button.setAttribute("aria-label", `${button.getAttribute("aria-label")} ${key}`);
    }
    card.querySelector(".name").append(nodes);
  }

  const keysWith = (mark) => cards.filter((card) => of(card) === mark).map(keyOf);

  function showCounts() {
    const [picked, rejected] = ["picked", "rejected"].map((mark) => keysWith(mark).length);
    $("picked-count").textContent = picked.toLocaleString("en");
    $("rejected-count").textContent = rejected.toLocaleString("en");
    $("unmarked-count").textContent = (cards.length - picked - rejected).toLocaleString("en");
    const any = picked + rejected > 0;
    $("save-picks").disabled = !any;
    $("marked").classList.toggle("unseen", kept.works); // the filters show the counts
    $("marked").textContent = !any ? "" : `${picked} picked, ${rejected} turned down` +
      (kept.works ? "" : ". This browser does not keep marks: save them before you leave.");
  }

  function showAll() {
    for (const card of cards) showOn(card, card);
    showCounts();
  }

  if (cards.length) {
    cards.forEach(addButtons);
    for (const id of ["mark-filters", "mark-tools"]) $(id).hidden = false;
    $("save-picks").addEventListener("click", () => {
      const [picked, rejected] = [keysWith("picked"), keysWith("rejected")];
      saveFile("picks.json", { format: "hoox-async picks 1", picked, rejected });
      $("then-picks").hidden = false;
      $("marked").textContent = "Saved as picks.json";
    });
    showAll();
    kept.onChange(showAll);
  }
  return { of, toggle, showOn, ofKey: { p: "picked", x: "rejected" } };
})();
