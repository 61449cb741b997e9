// Requests to the documented endpoints, with the viewer's key if one is asked for.

import { Store } from "./view.js";

export const ROOT = "/api/v1";
const KEY = "agent-spy.key";
const FIRST_MS = 5000;

/** An answer that is no 2xx, or none at all (`status` 0). The message is a sentence for people. */
export class ApiError extends Error {
  constructor(status, message, requestId) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.requestId = requestId;
  }
}

/** The API key of this tab, and whether the viewer is being asked for one. */
class Key extends Store {
  asking = null;
  #waiting = null;
  #value = readKey();

  get value() {
    return this.#value;
  }

  /** Asks the viewer, once for all who want to know; resolves when there is a key to try. */
  ask(reason) {
    if (!this.#waiting) {
      this.#waiting = new Promise((resolve) => {
        this.asking = { reason, resolve };
      });
      this.changed();
    }
    return this.#waiting;
  }

  /** Takes the key that the viewer gave. */
  give(value) {
    this.#value = value;
    try {
      sessionStorage.setItem(KEY, value);
    } catch {
      // Then the key lives as long as the page does.
    }
    const { resolve } = this.asking;
    this.asking = this.#waiting = null;
    this.changed();
    resolve();
  }
}

function readKey() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export const key = new Key();

/** What is fetched, with the key, asking for one as long as the server wants another. Raises ApiError. */
export async function request(path, options = {}) {
  for (;;) {
    const tried = key.value;
    const headers = { ...options.headers, ...(tried ? { "x-api-key": tried } : {}) };
    let answer;
    try {
      answer = await (firstAnswer(path, tried) ?? fetch(path, { ...options, headers, credentials: "same-origin", cache: "no-store" }));
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "The server cannot be reached.");
    }
    if (answer.ok) return answer;
    if (answer.status !== 401) throw await errorOf(answer);
    // Another request may have been given a new key meanwhile.
    if (tried === key.value) await key.ask(tried ? "The server does not know this key." : null);
  }
}

/**
 * The answer that `first.js` asked for, to whoever asks for it first. Once its endpoint is asked for something else, or
 * after a while, nobody gets it: it would be taken for news.
 */
function firstAnswer(path, tried) {
  const first = window.firstRequest;
  if (!first || endpoint(first.path) !== endpoint(path)) return null;
  window.firstRequest = null;
  const isFresh = performance.now() - first.at < FIRST_MS;
  return isFresh && first.path === path && first.key === tried ? first.answer : null;
}

function endpoint(path) {
  return path.split("?", 1)[0];
}

/** The JSON at a path below the API's root; parameters that are null, undefined or empty are left out. */
export async function get(path, parameters = {}, options = {}) {
  const answer = await request(address(path, parameters), options);
  return exactJson(await answer.text());
}

/** Sends JSON, and gives the JSON that comes back. */
export async function send(method, path, body) {
  const content = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const answer = await request(ROOT + path, { method, ...content });
  return exactJson(await answer.text());
}

/** The address of a path below the API's root. */
export function address(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  return ROOT + path + (query ? `?${query}` : "");
}

/** An address that the API gave out, on the host that this page is from: behind a proxy it may know itself otherwise. */
export function local(url) {
  const { pathname, search } = new URL(url, location.origin);
  return pathname + search;
}

/** A number that JavaScript cannot hold, by its digits. */
export class ExactNumber {
  constructor(digits) {
    this.digits = digits;
  }

  toString() {
    return this.digits;
  }

  toJSON() {
    return typeof JSON.rawJSON === "function" ? JSON.rawJSON(this.digits) : this.digits;
  }
}

/** The value of a JSON text, in which numbers that JavaScript would round keep their digits. */
export function exactJson(text) {
  // Long numbers are rare, and looking at every value takes many times as long.
  if (!/[[,:]\s*-?\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, (name, value, context) => {
    if (typeof value !== "number" || !context?.source || Number.isSafeInteger(value)) return value;
    return /^-?\d{16,}$/.test(context.source) ? new ExactNumber(context.source) : value;
  });
}

async function errorOf(answer) {
  let detail = `The server answered ${answer.status}.`;
  let requestId = null;
  try {
    const body = await answer.json();
    requestId = body.request_id ?? null;
    if (typeof body.detail === "string") detail = body.detail;
    else if (Array.isArray(body.detail)) detail = body.detail.map((one) => `${one.loc?.at(-1) ?? ""}: ${one.msg}`).join("; ");
  } catch {
    // Something in between answered.
  }
  return new ApiError(answer.status, detail, requestId);
}
