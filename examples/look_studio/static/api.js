// The server, as the page sees it.

let customer = null; // whom the page shows

/** Send each request as this customer's. The server refuses it where another tab has changed to somebody else. */
export function workAs(name) {
  customer = name;
}

/**
 * Send JSON, or without a body read it. Throws an Error whose message is for people. Where another tab has
 * changed the customer, the window gets the event "othercustomer", and the error is `toldAlready`.
 */
async function request(path, options) {
  const headers = { "Content-Type": "application/json" };
  if (customer !== null) headers["X-Customer"] = encodeURIComponent(customer);
  let answer;
  try {
    answer = await fetch(path, { headers, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const message = "The server did not answer. Trying again is safe: nothing is paid for twice.";
    throw Object.assign(new Error(message), { unanswered: true });
  }
  const found = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (answer.ok) return found;
  const message = found?.detail || `The server answered with an error (${answer.status}). Trying again is safe.`;
  const other = found?.field === "customer";
  if (other) window.dispatchEvent(new CustomEvent("othercustomer", { detail: message }));
  throw Object.assign(new Error(message), { toldAlready: other });
}

export const get = (path) => request(path, {});
export const post = (path, body, signal) => request(path, { method: "POST", body: JSON.stringify(body ?? {}), signal });

/**
 * A token for a form: the server takes it for one order, however often the form is sent.
 * `renew` it when the content changes or the order was taken.
 */
export class Token {
  constructor() {
    this.renew();
  }

  renew() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    this.value = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
}

/** Estimates the cost of a form while it is filled in; only the last answer counts. */
export class Estimate {
  constructor(path) {
    this.path = path;
    this.running = null;
  }

  /** The estimate; undefined where a newer one is under way. */
  async of(body) {
    this.running?.abort();
    const mine = (this.running = new AbortController());
    try {
      return await post(this.path, body, mine.signal);
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      throw error;
    }
  }

  stop() {
    this.running?.abort();
  }
}
