// What the pages are drawn with.

import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.mjs";
import htm from "./vendor/htm.mjs";
import { h, render } from "./vendor/preact.mjs";

export { render, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState };

/** Elements, written as they look. What stands in them is text: no text becomes markup. */
export const html = htm.bind(h);

/** Something that changes and says so. A page has one, and its parts draw themselves again when it changes. */
export class Store {
  #listeners = new Set();
  #changes = 0;

  /** How often it has changed. */
  get changes() {
    return this.#changes;
  }

  /** Calls `listener` after every change until the function that it returns is called. */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  changed() {
    this.#changes += 1;
    for (const listener of [...this.#listeners]) listener();
  }
}

/** Draws the calling component again whenever the store changes. */
export function useStore(store) {
  const [, count] = useState(0);
  const drawn = store.changes;
  // At once, so that what comes before the first paint is in it.
  useLayoutEffect(() => {
    const draw = () => count((n) => n + 1);
    // It may have changed after it was drawn and before anybody listened.
    if (store.changes !== drawn) draw();
    return store.subscribe(draw);
  }, [store]);
  return store;
}

/** The time in milliseconds, anew every so often; draws the calling component again. */
export function useNow(everyMs) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!everyMs) return undefined;
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** Class names, of which those that are false are left out. */
export function classes(...names) {
  return names.filter(Boolean).join(" ");
}

/** Sets the title of the document: the page's own words, then the application's name. */
export function useTitle(words) {
  useEffect(() => {
    const name = document.querySelector('meta[name="application-name"]').content;
    document.title = words ? `${words} · ${name}` : name;
  }, [words]);
}
