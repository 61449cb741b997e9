// Keys. A part of a page says which keys do what while it is shown; the help sheet lists them.

import { Store, useEffect, useRef } from "./view.js";

class Keyboard extends Store {
  #layers = [];

  constructor() {
    super();
    document.addEventListener("keydown", (event) => this.#press(event));
  }

  /** What can be done by keys now, on this page or on every one: [keys, words] of each that has words. */
  bindings({ isEverywhere }) {
    const layers = this.#layers.filter((layer) => layer.isEverywhere === isEverywhere);
    return layers.flatMap((layer) => layer.bindings.filter(({ words }) => words).map(({ keys, words }) => [keys, words]));
  }

  add(layer) {
    this.#layers.push(layer);
    this.changed();
    return () => {
      this.#layers.splice(this.#layers.indexOf(layer), 1);
      this.changed();
    };
  }

  #press(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const isTyping = event.target.closest?.("input:not([type=range]):not([type=checkbox]), textarea, select, [contenteditable]");
    if (isTyping && event.key !== "Escape") return;
    // Enter and space belong to the control that has the focus.
    if ((event.key === "Enter" || event.key === " ") && event.target.closest?.("a, button, summary, select, input")) return;
    if (event.target.closest?.("[role=slider], [role=separator], input[type=range], [role=tablist]") && event.key.startsWith("Arrow")) return;
    for (const layer of [...this.#layers].reverse()) {
      const binding = layer.bindings.find(({ keys }) => keys.includes(event.key));
      if (binding) {
        event.preventDefault();
        binding.run(event);
        return;
      }
      if (layer.isModal) return;
    }
  }
}

export const keyboard = new Keyboard();

/**
 * While the calling component is shown, has keys do things.
 *
 * `bindings` are `{keys: ["j", "ArrowDown"], words: "next trace", run}`; `isModal` keeps keys from what lies beneath;
 * `isEverywhere` are those of every page.
 */
export function useKeys(bindings, { isModal = false, isEverywhere = false } = {}) {
  const latest = useRef(bindings);
  latest.current = bindings;
  useEffect(() => keyboard.add({ get bindings() { return latest.current; }, isModal, isEverywhere }), []);
}
