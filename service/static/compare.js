// Two runs side by side: what is told of them, the steps below them, and how their values differ.

import { get } from "./api.js";
import { brief, briefList } from "./brief.js";
import { comparisonHref } from "./choosing.js";
import { Difference, pretty } from "./diff_view.js";
import { Problem } from "./frame.js";
import { STATUS_WORDS, TypeIcon } from "./icons.js";
import { count, dollars, percent } from "./numbers.js";
import { traceHref } from "./place.js";
import { duration, exactTime, time } from "./times.js";
import { Tree } from "./tree.js";
import { isEmpty, Value } from "./values.js";
import { classes, html, useEffect, useMemo, useState, useTitle } from "./view.js";

const STEPS_MAX = 40;
const NOTABLE = 0.1;
const SIDES = ["A", "B"];

export function ComparePage({ ids }) {
  const [state, setState] = useState({ sides: null, error: null });
  const read = () => Promise.all(ids.map(side)).then((sides) => setState({ sides, error: null }), (error) => setState({ sides: null, error }));
  useEffect(() => { read(); }, []);
  const { sides, error } = state;
  useTitle(sides ? `${sides.map(({ run }) => brief(run.name)).join(" and ")}` : "Compare");
  if (error) return html`<div class="empty"><h1>These cannot be compared</h1><${Problem} error=${error} retry=${read} /></div>`;
  if (!sides) return html`<p class="loading" role="status">Reading both runs…</p>`;
  const [from, to] = sides;
  return html`<div class="page compare-page">
    <header class="page-head"><h1>Compare</h1><a class="button" href=${comparisonHref(to.run.id, from.run.id)}>Swap sides</a></header>
    <${Facts} from=${from} to=${to} />
    <${Steps} from=${from} to=${to} />
    ${["error", "inputs", "outputs"].map((name) => html`<${Member} key=${name} name=${name} told=${[from, to].map(({ run }) => run.offloaded?.[name] ?? inPlace(run[name]))} />`)}
    <${Member} name="metadata" told=${[from, to].map(({ run }) => inPlace(run.extra?.metadata))} />
  </div>`;
}

/** All that is known of a run, and what lies below it. */
async function side(id) {
  const [run, outline] = await Promise.all([get(`/runs/${id}`, { status_words: "documented" }), get(`/dashboard/runs/${id}/outline`)]);
  return { run, tree: new Tree(outline, Date.now()) };
}

const FACTS = [
  ["Status", ({ run }) => STATUS_WORDS[run.status] ?? run.status],
  ["Started", ({ run }) => exactTime(time(run.start_time))],
  ["Latency", ({ run }) => since(run, run.end_time), duration],
  ["First token", ({ run }) => since(run, run.first_token_time), duration],
  ["Runs", ({ tree }) => tree.totalRuns, count],
  ["Model", ({ run }) => run.model && brief([run.provider, run.model].filter(Boolean).join(" / "))],
  ["Tokens", ({ tree }) => tree.root.tokens, count],
  ["Cost", ({ tree }) => tree.root.cost, dollars],
  ["Project", ({ run }) => run.project_name],
  ["Tags", ({ run }) => briefList(run.tags)],
];

function since(run, moment) {
  return moment === null ? null : time(moment) - time(run.start_time);
}

function Facts({ from, to }) {
  const told = FACTS.map(([words, value, format]) => [words, value(from), value(to), format]).filter(([, one, other]) => !isEmpty(one) || !isEmpty(other));
  return html`<section class="card" aria-label="Facts"><div class="table-box" tabindex="0" role="group" aria-label="Facts"><table class="compared"><thead><tr><th scope="col"><span class="unseen">Fact</span></th>${[from.run, to.run].map(
    (run, i) => html`<th scope="col"><a class="with-icon" href=${traceHref(run.trace_id, run.id)}><span class="badge">${SIDES[i]}</span><${TypeIcon} type=${run.run_type} />${brief(run.name || "(no name)")}</a></th>`,
  )}<th scope="col">Change</th></tr></thead><tbody>${told.map(
    ([words, one, other, format]) => html`<tr key=${words} class=${classes(String(one) !== String(other) && "is-different")}><th scope="row">${words}</th><td>${written(one, format)}</td><td>${written(other, format)}</td><td>${format ? html`<${Change} from=${one} to=${other} format=${format} />` : null}</td></tr>`,
  )}</tbody></table></div></section>`;
}

function written(value, format = String) {
  return isEmpty(value) ? html`<span class="nothing">–</span>` : format(value);
}

/** From one number to another: the difference, and what part of the first it is. */
function Change({ from, to, format }) {
  if (typeof from !== "number" || typeof to !== "number" || format(from) === format(to)) return null;
  const by = to - from;
  const sign = by > 0 ? "+" : "−";
  return html`<span class=${classes(Math.abs(by) >= NOTABLE * from && (by > 0 ? "words-more" : "words-less"))}>${sign}${format(Math.abs(by))}${from ? html` <small>${sign}${percent(Math.abs(by), from)}</small>` : null}</span>`;
}

/** The steps by their name and the names above them: how often each ran, and for how long in all. */
function Steps({ from, to }) {
  const lines = useMemo(() => linesOf(from.tree, to.tree), [from, to]);
  if (!lines.length) return null;
  const left = lines.length - STEPS_MAX;
  return html`<section class="card" aria-label="Steps"><header class="card-head"><h2>Steps</h2><p class="card-words">By name, where the time differs most first</p></header>
    <div class="table-box" tabindex="0" role="group" aria-label="Steps"><table class="numbers"><thead><tr>${["Step", "Runs A", "B", "Failed A", "B", "Time A", "B", "Change"].map((head) => html`<th scope="col">${head}</th>`)}</tr></thead><tbody>${lines.slice(0, STEPS_MAX).map(
      (line) => html`<tr key=${line.name}><th scope="row" title=${line.name}><span class="with-icon"><${TypeIcon} type=${line.type} />${line.name}</span></th>
        <td>${line.from.runs}</td><td>${line.to.runs}</td><td>${line.from.failed || ""}</td><td>${line.to.failed || ""}</td><td>${duration(line.from.ms)}</td><td>${duration(line.to.ms)}</td><td><${Change} from=${line.from.ms} to=${line.to.ms} format=${duration} /></td></tr>`,
    )}</tbody></table></div>
    ${left > 0 ? html`<p class="note">${count(left)} more differ by less.</p>` : null}</section>`;
}

function linesOf(from, to) {
  const lines = new Map();
  for (const [which, tree] of [["from", from], ["to", to]]) {
    const names = [];
    for (const step of tree.steps) {
      names[step.level] = step.name || "(no name)";
      if (step.level === 0) continue;
      const name = names.slice(1, step.level + 1).slice(-3).join(" › ");
      if (!lines.has(name)) lines.set(name, { name, type: step.type, from: nothing(), to: nothing() });
      const sums = lines.get(name)[which];
      sums.runs += 1;
      sums.failed += step.status === "failed";
      sums.ms += step.end === null || step.start === null ? 0 : step.end - step.start;
    }
  }
  return [...lines.values()].sort((one, other) => Math.abs(other.to.ms - other.from.ms) - Math.abs(one.to.ms - one.from.ms));
}

function nothing() {
  return { runs: 0, failed: 0, ms: 0 };
}

/** A value as it is told when it is not stored by itself; null for none. */
function inPlace(value) {
  return isEmpty(value) ? null : { value };
}

/**
 * A value of both runs, each as `Difference` takes it: how it differs line by line, or both as people read them. Where a
 * value is stored comes from the server alone: what lies within a run is whatever its sender wrote.
 */
function Member({ name, told }) {
  const [isSideBySide, setSideBySide] = useState(false);
  if (told.every((one) => one === null)) return null;
  const title = name[0].toUpperCase() + name.slice(1);
  const isLarge = told.some((one) => one?.url);
  const isSame = !isLarge && pretty(told[0]) === pretty(told[1]);
  const ways = [["Difference", false], ["Side by side", true]];
  return html`<section class="card" aria-label=${title}><header class="card-head"><h2>${title}</h2>
      ${isSame ? html`<p class="card-words">The same in both</p>` : null}
      ${isSame || isLarge ? null : html`<div class="segments small" role="group" aria-label=${`${title}: how to compare`}>${ways.map(
        ([words, way]) => html`<button type="button" key=${words} aria-pressed=${isSideBySide === way} onClick=${() => setSideBySide(way)}>${words}</button>`,
      )}</div>`}</header>
    ${isSame ? html`<${Value} value=${told[0].value} />` : isSideBySide ? html`<div class="sides">${told.map((one, i) => html`<div key=${i}><${Value} value=${one?.value} /></div>`)}</div>` : html`<${Difference} before=${told[0]} after=${told[1]} />`}</section>`;
}
