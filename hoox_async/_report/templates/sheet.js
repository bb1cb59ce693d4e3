(() => {
  const sections = [...document.querySelectorAll("section.avatar")].map((node) => ({
    node,
    avatar: node.dataset.avatar,
    lists: [...node.querySelectorAll(".grid")],
    cards: [...node.querySelectorAll(".card")].map((card) => ({ node: card, state: card.dataset.state, text: null })),
  }));
  const all = sections.flatMap((section) => section.cards);
  let shown = all;

  // What can be searched is read from the page at the first search, not while it loads.
  const textOf = (card) =>
    (card.text ??= [...card.node.querySelectorAll(".find")].map((node) => node.textContent).join("\n").toLowerCase());
  const count = (n) => `${n.toLocaleString("en")} look${n === 1 ? "" : "s"}`;

  function filter() {
    const words = $("text").value.toLowerCase().split(/\s+/).filter(Boolean);
    const avatar = $("avatar").value;
    const states = new Set([...document.querySelectorAll("[name=state]:checked")].map((box) => box.value));
    const wanted = new Set([...document.querySelectorAll("[name=mark]:checked")].map((box) => box.value));
    const chosen = (card) =>
      (!states.size || states.has(card.state)) && (!wanted.size || wanted.has(marks.of(card.node)));
    const fits = (card) => chosen(card) && words.every((word) => textOf(card).includes(word));
    shown = [];
    for (const section of sections) {
      let here = 0;
      const open = !avatar || avatar === section.avatar;
      for (const card of section.cards) {
        const visible = open && (section.named(words) ? chosen(card) : fits(card));
        if (card.node.hidden === visible) card.node.hidden = !visible;
        if (visible) { shown.push(card); here += 1; }
      }
      section.node.hidden = !here;
      for (const list of section.lists) list.hidden = !list.querySelector(":scope > .card:not([hidden])");
    }
    const filtered = words.length || avatar || states.size || wanted.size;
    $("found").textContent = filtered ? `${shown.length.toLocaleString("en")} of ${count(all.length)}` : count(all.length);
    $("clear").hidden = !filtered;
    $("filter").classList.toggle("filtered", Boolean(filtered));
    $("none").hidden = shown.length > 0;
  }
  for (const section of sections) {
    const name = section.node.querySelector(".title").textContent.toLowerCase();
    // A search for the avatar itself shows all its looks.
    section.named = (words) => words.length > 0 && words.every((word) => name.includes(word));
  }

  let due = 0;
  const soon = () => {
    cancelAnimationFrame(due);
    due = requestAnimationFrame(() => {
      filter();
      // Whoever filters in the middle of the page wants to see the first of what was found.
      if ($("looks").getBoundingClientRect().top < 0) $("looks").scrollIntoView();
    });
  };
  $("filter").addEventListener("input", soon);
  $("filter").addEventListener("reset", () => { setTimeout(filter); $("text").focus(); });
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "checkbox";
    if (event.key === "/" && !typing && !viewer.open) { event.preventDefault(); $("text").focus(); }
  });

  const viewer = $("viewer");
  let at = -1;

  function show(index) {
    at = (index + shown.length) % shown.length;
    const card = shown[at].node;
    const shot = card.querySelector("[data-open]");
    const picture = shot.getAttribute("href");
    $("viewer-picture").hidden = !picture;
    $("viewer-blank").hidden = Boolean(picture);
    if (picture) {
      $("viewer-picture").src = picture;
      $("viewer-picture").alt = card.querySelector(".prompt").textContent;
      $("viewer-blank").replaceChildren();
    } else {
      $("viewer-picture").removeAttribute("src");
      $("viewer-blank").className = `blank ${shown[at].state}`;
      $("viewer-blank").replaceChildren(...[...shot.children].map((node) => node.cloneNode(true)));
    }
    const name = card.closest("section").querySelector("h2").textContent;
    $("viewer-place").textContent = `${name} · ${at + 1} of ${shown.length}`;
    $("viewer-title").textContent = card.querySelector("h3").textContent;
    $("viewer-prompt").textContent = card.querySelector(".prompt").textContent;
    const more = card.querySelector(".more").cloneNode(true);
    more.hidden = false;
    $("viewer-more").replaceChildren(more);
    $("viewer-marks").hidden = marks.of(card) === null;
    marks.showOn(card, $("viewer-marks"));
    for (const id of ["previous", "next"]) $(id).disabled = shown.length < 2;
    const ahead = shown[(at + 1) % shown.length].node.querySelector("[data-open]").getAttribute("href");
    if (ahead) new Image().src = ahead;
  }

  function mark(card, name) {
    marks.toggle(card, name);
    if (viewer.open) marks.showOn(card, $("viewer-marks"));
  }
  // P and X mark the look that has the focus, or that the viewer shows.
  const markOf = (event) =>
    event.metaKey || event.ctrlKey || event.altKey ? undefined : marks.ofKey[event.key.toLowerCase()];
  $("looks").addEventListener("keydown", (event) => {
    const card = event.target.closest(".card");
    if (card && markOf(event)) mark(card, markOf(event));
  });

  $("looks").addEventListener("click", (event) => {
    const button = event.target.closest("[data-mark]");
    if (button) return mark(button.closest(".card"), button.dataset.mark);
    const shot = event.target.closest("[data-open]");
    if (!shot || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    show(shown.findIndex((card) => card.node.contains(shot)));
    viewer.showModal();
    $("viewer-title").focus({ preventScroll: true });
  });
  viewer.addEventListener("click", (event) => {
    if (event.target === viewer) viewer.close();
    const button = event.target.closest("[data-mark]");
    if (button) mark(shown[at].node, button.dataset.mark);
  });
  viewer.addEventListener("keydown", (event) => {
    if (markOf(event)) mark(shown[at].node, markOf(event));
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
    $("viewer-title").focus({ preventScroll: true });
  });
  viewer.addEventListener("close", () => {
    const shot = shown[at].node.querySelector("[data-open]");
    shot.focus();
    shot.scrollIntoView({ block: "nearest" });
  });
  $("previous").addEventListener("click", () => show(at - 1));
  $("next").addEventListener("click", () => show(at + 1));
  $("close").addEventListener("click", () => viewer.close());
  filter(); // a page that was reloaded may come with its fields filled in
})();
