// Decisions about unknowns: chosen on the page, saved as a file that `hoox-async resolve` carries out.
(() => {
  if (!$("unknowns")) return;
  const kept = new Kept("decisions");
  const unknowns = [...document.querySelectorAll(".unknown-request")].map((node) => ({
    node,
    key: node.dataset.key,
    attempt: node.dataset.attempt,
    price: Number(node.dataset.price),
    other: node.querySelector(".other input"),
    hint: node.querySelector(".hint"),
    moved: node.querySelector(".moved"),
  }));
  const REF = /^[^:\s]+:[^:\s]+$/;

  // A decision about an earlier attempt under the same key is none about this one.
  const verdictOf = (unknown) => {
    const decision = kept.values.get(unknown.key);
    return decision && decision.attempt === unknown.attempt ? decision.verdict : null;
  };

  function decide(unknown, verdict) {
    if (verdict && verdict.includes(":")) {
      // one look is the result of one request only
      for (const rival of unknowns) {
        if (rival === unknown || verdictOf(rival) !== verdict) continue;
        kept.put(rival.key, null);
        rival.moved.textContent = `Not decided any more: ${verdict} is now chosen for ${unknown.key}.`;
        rival.moved.hidden = false;
      }
    }
    unknown.moved.hidden = true;
    kept.put(unknown.key, verdict && { attempt: unknown.attempt, verdict });
    show();
  }

  function show() {
    const verdicts = unknowns.map(verdictOf);
    unknowns.forEach((unknown, index) => {
      const verdict = verdicts[index];
      let offered = false;
      for (const button of unknown.node.querySelectorAll(".choice")) {
        const pressed = button.dataset.verdict === verdict;
        button.setAttribute("aria-pressed", pressed);
        button.closest(".candidate")?.classList.toggle("chosen", pressed);
        offered ||= pressed;
      }
      unknown.node.classList.toggle("settled", Boolean(verdict));
      if (verdict && !offered) unknown.other.value = verdict;
      else if (REF.test(unknown.other.value.trim())) unknown.other.value = "";
      showHint(unknown);
    });
    const made = verdicts.filter(Boolean);
    const again = unknowns.filter((_, index) => verdicts[index] === "resend");
    const named = made.filter((verdict) => verdict.includes(":")).length;
    const credits = again.reduce((sum, unknown) => sum + unknown.price, 0);
    const parts = [
      named && `${named} found`,
      again.length && `${again.length} made again for ${credits} credit${credits === 1 ? "" : "s"}`,
      made.length - named - again.length && `${made.length - named - again.length} left`,
    ].filter(Boolean);
    $("decided-count").textContent =
      `${made.length} of ${unknowns.length} decided${parts.length ? `: ${parts.join(", ")}` : ""}` +
      (kept.works || !made.length ? "" : ". This browser does not keep decisions: save them before you leave.");
    $("save-decisions").disabled = !made.length;
    $("decided").classList.toggle("any", made.length > 0);
  }

  // What is wrong with the typed text; empty where it names a look, or nothing is typed.
  function problemOf(unknown) {
    const typed = unknown.other.value.trim();
    if (typed === "" || (REF.test(typed) && typed !== unknown.node.dataset.source)) return "";
    return REF.test(typed)
      ? "That is the look that was edited, not the one that was made."
      : "Expected avatar_id:look_id, two ids with a colon between them.";
  }
  function showHint(unknown) {
    const problem = problemOf(unknown);
    unknown.other.setAttribute("aria-invalid", problem !== "");
    unknown.hint.textContent = problem;
  }

  for (const unknown of unknowns) {
    unknown.node.addEventListener("click", (event) => {
      const verdict = event.target.closest(".choice")?.dataset.verdict;
      if (verdict) decide(unknown, verdictOf(unknown) === verdict ? null : verdict);
    });
    unknown.other.addEventListener("input", () => {
      const typed = unknown.other.value.trim();
      showHint(unknown);
      const named = verdictOf(unknown)?.includes(":");
      if (REF.test(typed) && !problemOf(unknown)) decide(unknown, typed);
      else if (named) decide(unknown, null);
    });
  }
  $("save-decisions").addEventListener("click", () => {
    const decisions = unknowns
      .filter(verdictOf)
      .map((unknown) => ({ key: unknown.key, attempt: unknown.attempt, verdict: verdictOf(unknown) }));
    saveFile("decisions.json", { format: "hoox-async decisions 2", decisions });
  });

  // A link to a request opens the list that it is in.
  addEventListener("hashchange", openTarget);
  function openTarget() {
    const target = location.hash.startsWith("#unknown-") && $(location.hash.slice(1));
    if (!target) return;
    target.closest("details").open = true;
    target.scrollIntoView();
  }
  openTarget();

  for (const node of document.querySelectorAll(".choices, .choice, #decided")) node.hidden = false;
  kept.onChange(show);
  show();
})();
