// Following the log. Server-sent events are read with `fetch`, because `EventSource` cannot send an API key.

import { address, ApiError, request } from "./api.js";
import { Store } from "./view.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
// The server says something at least every 15 s.
const SILENCE_MS = 40_000;

/**
 * The log as it grows. `state` is "connecting", "live", "reconnecting" or "paused".
 *
 * `onEvents(events)` gets the events that came together, at least one; `onEvents(null)` says that some may have been
 * missed, so everything has to be read anew: before it was connected, too. While the tab is hidden nothing is followed: browsers allow few
 * connections to a server, and tabs share them.
 */
export class LogStream extends Store {
  state = "connecting";
  #parameters;
  #onEvents;
  #lastId = null;
  #isPaused = false;
  #failures = 0;
  #controller = null;
  #closed = false;
  #wake = null;
  #onVisible = () => this.#settle();
  #onOnline = () => this.#wake?.();

  constructor(parameters, onEvents) {
    super();
    this.#parameters = parameters;
    this.#onEvents = onEvents;
    document.addEventListener("visibilitychange", this.#onVisible);
    addEventListener("online", this.#onOnline);
    this.#follow();
  }

  get isPaused() {
    return this.#isPaused;
  }

  pause() {
    this.#isPaused = true;
    this.#become("paused");
    this.#settle();
  }

  resume() {
    this.#isPaused = false;
    this.#become("connecting");
    this.#settle();
  }

  close() {
    this.#closed = true;
    document.removeEventListener("visibilitychange", this.#onVisible);
    removeEventListener("online", this.#onOnline);
    this.#controller?.abort();
    this.#wake?.();
  }

  get #isIdle() {
    return this.#isPaused || document.hidden;
  }

  #settle() {
    if (this.#isIdle) {
      this.#lastId = null; // What came meanwhile is read anew, not caught up with event by event.
      this.#controller?.abort();
    }
    this.#wake?.();
  }

  async #follow() {
    while (!this.#closed) {
      if (this.#isIdle) {
        await this.#sleep(null);
        continue;
      }
      try {
        await this.#read();
        this.#failures = 0;
      } catch (error) {
        if (this.#closed || this.#isIdle) continue;
        if (error instanceof ApiError && error.status === 422) this.#lastId = null; // The log is not the one it was.
        this.#become("reconnecting");
        await this.#sleep(RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)]);
        this.#failures += 1;
      }
    }
  }

  async #read() {
    this.#controller = new AbortController();
    const headers = { Accept: "text/event-stream", ...(this.#lastId ? { "Last-Event-ID": this.#lastId } : {}) };
    const options = { headers, signal: this.#controller.signal };
    const answer = await request(address("/events/stream", { payload: false, ...this.#parameters }), options);
    if (!this.#lastId) this.#onEvents(null);
    this.#failures = 0;
    this.#become("live");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const messages = new Messages();
    for (;;) {
      const { done, value } = await this.#inTime(reader.read());
      if (done) throw new Error("The stream ended.");
      const events = messages.take(value);
      this.#lastId = messages.lastId ?? this.#lastId;
      if (events.length) this.#onEvents(events);
    }
  }

  async #inTime(reading) {
    const timer = setTimeout(() => this.#controller.abort(), SILENCE_MS);
    try {
      return await reading;
    } finally {
      clearTimeout(timer);
    }
  }

  #sleep(ms) {
    return new Promise((resolve) => {
      const timer = ms === null ? null : setTimeout(resolve, ms * (0.75 + Math.random() / 2));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #become(state) {
    if (this.#isPaused) state = "paused";
    if (state === this.state) return;
    this.state = state;
    this.changed();
  }
}

/** Takes the text of server-sent events in pieces of any size. */
export class Messages {
  lastId = null;
  #rest = "";

  /** The events that a piece completes: `data` of each, parsed. */
  take(piece) {
    const blocks = (this.#rest + piece).split("\n\n");
    this.#rest = blocks.pop();
    return blocks.map((block) => this.#event(block)).filter((event) => event !== null);
  }

  #event(block) {
    const data = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("id: ")) this.lastId = line.slice(4);
      else if (line.startsWith("data: ")) data.push(line.slice(6));
    }
    return data.length ? JSON.parse(data.join("\n")) : null;
  }
}
