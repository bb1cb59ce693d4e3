// The server, as the page sees it.

/** Send JSON. Throws an Error whose message is for people. */
export async function post(path, body, signal) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body ?? {}),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server did not answer. Trying again is safe: nothing is paid for twice.");
  }
  const found = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw new Error(found?.detail || `The server answered ${answer.status}.`);
  return found;
}

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
