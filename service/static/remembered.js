// What is remembered of the viewer in this browser: theme, filters, widths, the zone of times. Nothing from traces.

import { Store } from "./view.js";

const PREFIX = "agent-spy.";

/** A value that outlives the page. Where storage is switched off it lives as long as the page does. */
class Remembered extends Store {
  #values = new Map();

  get(name, otherwise) {
    if (!this.#values.has(name)) this.#values.set(name, read(name));
    return this.#values.get(name) ?? otherwise;
  }

  set(name, value) {
    this.#values.set(name, value);
    try {
      localStorage.setItem(PREFIX + name, JSON.stringify(value));
    } catch {
      // Full, or switched off.
    }
    this.changed();
  }
}

function read(name) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

export const remembered = new Remembered();

const THEMES = ["auto", "light", "dark"];

export function theme() {
  return THEMES.find((known) => known === remembered.get("theme")) ?? "auto";
}

/** The next theme: the system's, light, dark. */
export function nextTheme() {
  const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
  remembered.set("theme", next);
  if (next === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
}
