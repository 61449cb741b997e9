// Choosing two runs to compare: the first one is kept for the tab until the second is chosen.

import { Icon } from "./icons.js";
import { place } from "./place.js";
import { html, Store, useStore } from "./view.js";

const KEPT = "agent-spy.compare";
const NAME_CHARS_MAX = 100;

class Choice extends Store {
  /** The run that was chosen first, {id, name}; null while there is none. */
  run = read();

  choose(run) {
    this.run = run;
    try {
      if (run) sessionStorage.setItem(KEPT, JSON.stringify(run));
      else sessionStorage.removeItem(KEPT);
    } catch {
      // Then the choice lives as long as the page does.
    }
    this.changed();
  }

  /** Chooses a run first; as the second one it is compared with the first. Chosen again, the first is let go. */
  take(run) {
    if (!this.run) this.choose({ id: run.id, name: run.name.slice(0, NAME_CHARS_MAX) });
    else if (this.run.id === run.id) this.choose(null);
    else {
      const first = this.run;
      this.choose(null);
      place.go(comparisonHref(first.id, run.id));
    }
  }
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT));
  } catch {
    return null;
  }
}

export const choice = new Choice();

/** The address of the page that compares two runs. */
export function comparisonHref(from, to) {
  return `/ui/compare/${from}/${to}`;
}

export function CompareButton({ run }) {
  useStore(choice);
  const isChosen = choice.run?.id === run.id;
  const title = isChosen ? "Let go of this run" : choice.run ? `Compare with ${choice.run.name || "the chosen run"} (c)` : "Compare with another run, to be chosen next (c)";
  return html`<button type="button" class="quiet with-icon" aria-pressed=${isChosen} title=${title} onClick=${() => choice.take(run)}><${Icon} name="compare" size=${14} /><span>Compare</span></button>`;
}

/** Says which run was chosen while the other one is looked for. */
export function ChosenNote() {
  useStore(choice);
  if (!choice.run) return null;
  return html`<div class="chosen" role="status"><${Icon} name="compare" size=${14} /><span>Compare <b>${choice.run.name || "(no name)"}</b> with: open another run, and press Compare there</span>
    <button type="button" class="quiet" onClick=${() => choice.choose(null)}>Let go</button></div>`;
}
