// What a trace's page knows: the tree, what of it is shown, and which run is looked at.

import { Scale } from "./scale.js";
import { Tree } from "./tree.js";
import { Store } from "./view.js";

const GAP_MS = 500;
const SETTLED_MS = 60_000;

export class TraceStore extends Store {
  tree = null;
  rows = [];
  scale = null;
  folded = new Set();
  error = null;
  /** The position of the log as of which the tree is shown, and the time at which that was; null is now. */
  asOf = null;
  #timer = null;
  #lastReadMs = 0;
  #reading = 0;
  #isBehind = false;
  #runs = new Map();

  /** `source` is where the trace is read: see `trace_sources.js`. */
  constructor(source) {
    super();
    this.source = source;
  }

  /** Reads again what may have come between the first reading and this call. Nothing is likely to, long after the end. */
  catchUp() {
    this.#isBehind = this.tree === null;
    if (this.tree && (this.tree.isRunning || Date.now() - this.tree.to < SETTLED_MS)) this.refresh();
  }

  /** Reads the trace, as of a position of the log or now. */
  async read(asOf = this.asOf) {
    this.asOf = asOf;
    this.#reading += 1;
    const reading = this.#reading;
    const began = performance.now();
    try {
      const answer = await this.source.outline(asOf?.position ?? null);
      if (reading !== this.#reading) return;
      this.#take(new Tree(answer, asOf?.at ?? Date.now()));
      this.error = null;
    } catch (error) {
      if (reading === this.#reading) this.error = error;
    }
    this.#lastReadMs = performance.now() - began;
    this.changed();
  }

  /** A run with all that is known of it, now or as of one of its versions. Read once until `forgetRuns`. */
  run(runId, version = null) {
    const name = `${runId} ${version}`;
    if (!this.#runs.has(name)) {
      const reading = this.source.run(runId, version);
      this.#runs.set(name, reading);
      reading.catch(() => this.#runs.delete(name));
    }
    return this.#runs.get(name);
  }

  forgetRuns() {
    this.#runs.clear();
  }

  /** Reads it again soon: the sooner, the less that took last time. */
  refresh() {
    if (this.#timer || this.asOf !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.read();
    }, Math.max(GAP_MS, 3 * this.#lastReadMs));
  }

  #take(tree) {
    const whole = new Scale(tree.from, tree.to);
    this.scale = this.scale ? this.scale.within(whole) : whole;
    this.tree = tree;
    this.rows = tree.rows(this.folded);
    if (this.#isBehind) this.catchUp();
  }

  zoom(scale) {
    this.scale = scale;
    this.changed();
  }

  toggle(step) {
    if (!step.size) return;
    if (!this.folded.delete(step.id)) this.folded.add(step.id);
    this.#arrange();
  }

  foldAll() {
    this.folded = new Set(this.tree.steps.filter((step) => step.size && step.level > 0).map((step) => step.id));
    this.#arrange();
  }

  unfoldAll() {
    this.folded = new Set();
    this.#arrange();
  }

  /** Unfolds what hides a step. */
  reveal(step) {
    for (const above of this.tree.path(step).slice(0, -1)) this.folded.delete(above.id);
    this.#arrange();
  }

  #arrange() {
    this.rows = this.tree.rows(this.folded);
    this.changed();
  }
}
