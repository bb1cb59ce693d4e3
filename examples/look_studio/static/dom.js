// Small helpers. Text goes into the page as text, never as HTML.

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/** A new element with attributes and children; a child may be text, an element or nothing. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== ""));
  return element;
}

/** A drawn sign, by the path of its line. */
export function sign(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/** Show text in an element, or hide the element. */
export function tell(element, text) {
  element.textContent = text || "";
  element.hidden = !text;
}

/** "1 look", "3 looks". */
export const many = (count, word) => `${count} ${word}${Number(count) === 1 ? "" : "s"}`;

/** "2 credits", "no credits". */
export const price = (credits) => (Number(credits) ? many(Number(credits), "credit") : "no credits");

/** "9 s", "2 min", "3 h", "4 days", for people who wait. */
export function span(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

/** "4 min ago", of a moment that the server wrote down. */
export const ago = (moment) => `${span((Date.now() - Date.parse(moment)) / 1000)} ago`;

/** The address of a card's, face's or candidate's picture. */
export const pictureOf = (id) => `/pictures/${encodeURIComponent(id)}`;

/** A function that runs `action` once nothing has called it for a while (milliseconds). */
export function later(action, wait) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, wait);
  };
}
