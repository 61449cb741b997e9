// The runs of a trace in the order in which a tree shows them, and what follows from their places.

import { time } from "./times.js";

const SLOW_SHARE = 0.2;
const SLOW_MS = 50;
// What the many steps have below them that have nothing: one list takes less to make than thousands.
const NONE = Object.freeze([]);

/**
 * A run in its place: `index` counts rows of the whole tree, `size` is how many runs lie below, `level` counts from 0.
 *
 * `own` are the milliseconds in which it ran and none of its children did. `tokens` and `cost` are those of the models
 * below it and its own, each counted once; where there are none, its own word.
 */
class Step {
  size = 0;
  children = NONE;
  own = 0;
  isSlow = false;
  isCycle = false;

  /** The run at a place of the columns. `from` is the time that they count from. */
  constructor(columns, index, parent, from) {
    const [start, took, cost] = [columns.start_us[index], columns.duration_us[index], columns.total_cost[index]];
    this.index = index;
    this.parent = parent;
    this.level = columns.level[index] - 1;
    this.id = columns.id[index];
    this.isMissing = columns.status[index] === null;
    this.name = columns.name[index] ?? "";
    this.type = columns.run_type[index] ?? "";
    this.status = columns.status[index] ?? "running";
    this.error = columns.error[index];
    this.start = start === null ? null : from + start / 1000;
    this.end = took === null ? null : from + (start + took) / 1000;
    this.tokens = columns.total_tokens[index];
    this.cost = cost === null ? null : Number(cost);
  }

  get isRunning() {
    return this.status === "running" && this.end === null && !this.isMissing;
  }

  /** The first line of its error: tracebacks differ on the way up. */
  get sentence() {
    return (this.error ?? "").split("\n", 1)[0];
  }

  /** Whether the failure began here: no run below failed. */
  get isOrigin() {
    return this.status === "failed" && !this.children.some((child) => child.status === "failed");
  }
}

/** The tree of a trace, in rows, made of the columns in which the endpoint answers it. */
export class Tree {
  steps = [];
  byId = new Map();

  constructor(answer, now) {
    this.totalRuns = answer.total_runs;
    this.#place(answer);
    this.#sum();
    this.#stretch(now);
    this.#findSlow(now);
    this.isRunning = this.steps.some((step) => step.isRunning);
    /** Where each failure began, in the order of rows. */
    this.origins = this.steps.filter((step) => step.isOrigin);
    /** Whether the trace failed: its root did, or any run where the root never came. */
    this.hasFailed = this.root.status === "failed" || (this.root.isMissing && this.origins.length > 0);
    /** Where to look: where the error of a root that failed began, as others may have been handled; else all origins. */
    this.causes = this.root.status === "failed" ? this.#begunAt(this.root) : this.origins;
  }

  get root() {
    return this.steps[0];
  }

  /** The steps from the root down to one. */
  path(step) {
    const found = [];
    for (let at = step; at; at = at.parent) found.unshift(at);
    return found;
  }

  /** The rows that show when the children of some steps (a set of ids) are folded away. */
  rows(folded) {
    if (!folded.size) return this.steps;
    const rows = [];
    for (let index = 0; index < this.steps.length; index += 1) {
      const step = this.steps[index];
      rows.push(step);
      if (folded.has(step.id)) index += step.size;
    }
    return rows;
  }

  /** The deepest steps that failed with a step's error, as did all between: there that error began. */
  #begunAt(step) {
    const same = new Set([step]);
    // Steps come after their parents.
    for (const one of this.steps) if (same.has(one.parent) && one.status === "failed" && one.sentence === step.sentence) same.add(one);
    return [...same].filter((one) => !one.children.some((child) => same.has(child)));
  }

  #place({ runs, start_time: first, cycles }) {
    const from = time(first);
    const line = []; // The row that was last at each level: a run's parent is the one a level above it.
    for (let index = 0; index < runs.id.length; index += 1) {
      const parent = line[runs.level[index] - 2] ?? null;
      const step = new Step(runs, index, parent, from);
      line[step.level] = step;
      if (parent?.children === NONE) parent.children = [step];
      else parent?.children.push(step);
      this.steps.push(step);
      this.byId.set(step.id, step);
    }
    for (const id of cycles) this.byId.get(id).isCycle = true;
  }

  #sum() {
    for (let index = this.steps.length - 1; index >= 0; index -= 1) {
      const step = this.steps[index];
      for (const child of step.children) step.size += 1 + child.size;
      // A run of a model that tells its usage tells of all below it, too: nothing is counted twice.
      if (step.type === "llm" && (step.tokens !== null || step.cost !== null)) continue;
      step.tokens = total(step.children, "tokens") ?? step.tokens;
      step.cost = total(step.children, "cost") ?? step.cost;
    }
  }

  /** From the first start to the last end. What is missing takes the place of what is below it. */
  #stretch(now) {
    let [from, to] = [Infinity, -Infinity];
    for (const step of this.steps) {
      if (step.start === null) continue;
      from = Math.min(from, step.start);
      to = Math.max(to, step.end ?? (step.isRunning ? now : step.start));
    }
    this.from = Number.isFinite(from) ? from : now;
    this.to = Math.max(Number.isFinite(to) ? to : now, this.from + 0.001);
  }

  #findSlow(now) {
    const whole = this.to - this.from;
    for (const step of this.steps) {
      if (step.start === null) continue;
      const end = step.end ?? (step.isRunning ? now : step.start);
      step.own = Math.max(0, end - step.start - covered(step, end, now));
      step.isSlow = step.level > 0 && step.own >= SLOW_MS && step.own >= SLOW_SHARE * whole;
    }
  }
}

/** The milliseconds of a step in which at least one of its children ran. Children come by their start. */
function covered(step, end, now) {
  let [sum, upto] = [0, step.start];
  for (const child of step.children) {
    if (child.start === null) continue;
    const from = Math.max(child.start, upto);
    const to = Math.min(child.end ?? now, end);
    if (to > from) {
      sum += to - from;
      upto = to;
    }
  }
  return sum;
}

function total(steps, name) {
  let sum = null;
  for (const step of steps) if (step[name] !== null && step[name] !== undefined) sum = (sum ?? 0) + step[name];
  return sum;
}
