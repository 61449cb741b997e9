// The overview: what happened over a stretch of time. Every number leads to the list of traces that it counts.

import { get } from "./api.js";
import { Chart, ShareBar } from "./charts.js";
import { Problem } from "./frame.js";
import { count, dollars, percent, short } from "./numbers.js";
import { place, tracesHref } from "./place.js";
import { duration, time } from "./times.js";
import { html, useEffect, useRef, useState, useStore, useTitle } from "./view.js";

const SPANS = { "24h": [24, 1, "Last 24 hours"], "7d": [168, 4, "Last 7 days"], "30d": [720, 24, "Last 30 days"], "90d": [2160, 48, "Last 90 days"] };
const FRESH_MS = 30_000;

export function OverviewPage() {
  useStore(place);
  useTitle("Overview");
  const project = place.parameters.get("project") ?? "";
  const range = SPANS[place.parameters.get("range")] ? place.parameters.get("range") : "24h";
  const [found, error, read] = useOverview(project, range);
  return html`<div class="page">
    <header class="page-head"><h1>Overview</h1>
      <${ProjectChoice} value=${project} />
      <div class="segments" role="group" aria-label="Time">${Object.entries(SPANS).map(
        ([name, [, , words]]) => html`<button type="button" key=${name} aria-pressed=${name === range} onClick=${() => place.set({ range: name })} title=${words}>${name}</button>`,
      )}</div>
    </header>
    ${error ? html`<${Problem} error=${error} retry=${read} />` : null}
    ${found ? html`<${Numbers} found=${found} project=${project} />` : error ? null : html`<p class="loading" role="status">Counting…</p>`}
  </div>`;
}

function useOverview(project, range) {
  const [state, setState] = useState([null, null]);
  const asked = useRef(0);
  const read = () => {
    asked.current += 1;
    const mine = asked.current;
    // The answer to an earlier question may come after that to a later one.
    const take = (next) => mine === asked.current && setState(next);
    const [hours, bucketHours] = SPANS[range];
    // Up to now as the server has it: the viewer's clock may be hours off.
    return get("/dashboard/stats/overview", { project, hours, bucket_hours: bucketHours }).then(
      (found) => take([withTimes(found), null]),
      (error) => take((old) => [old[0], error]),
    );
  };
  useEffect(() => {
    read();
    const timer = setInterval(() => document.hidden || read(), FRESH_MS);
    return () => clearInterval(timer);
  }, [project, range]);
  return [...state, read];
}

function withTimes(found) {
  return { ...found, start: time(found.start), end: time(found.end), buckets: found.buckets.map((bucket) => ({ ...bucket, start: time(bucket.start), end: time(bucket.end) })) };
}

function ProjectChoice({ value }) {
  const [names, setNames] = useState([]);
  useEffect(() => {
    get("/dashboard/stats/summary").then((summary) => setNames(Object.keys(summary.stats.project_distribution).sort()), () => {});
  }, []);
  const shown = value && !names.includes(value) ? [value, ...names] : names;
  return html`<label><span class="unseen">Project</span><select value=${value} onChange=${(event) => place.set({ project: event.target.value })}>
    <option value="">All projects</option>${shown.map((name) => html`<option key=${name} value=${name} selected=${name === value}>${name}</option>`)}</select></label>`;
}

function Numbers({ found, project }) {
  const { buckets } = found;
  const sum = (value) => buckets.reduce((all, bucket) => all + value(bucket), 0);
  const failed = sum((bucket) => bucket.traces.failed);
  const traces = failed + sum((bucket) => bucket.traces.completed + bucket.traces.running);
  const [tokens, cost] = [sum((bucket) => bucket.total_tokens), sum((bucket) => Number(bucket.total_cost))];
  const list = (filters, { start, end } = found) => tracesHref({ project, from: new Date(start).toISOString(), to: lastOf(end), ...filters });
  const bucketHref = (filters) => (bucket) => list(filters, bucket);
  return html`<dl class="tiles">
      <div><dt>Traces</dt><dd><a href=${list({})}>${count(traces)}</a></dd></div>
      <div><dt>Failed</dt><dd><a class=${failed ? "words-failed" : ""} href=${list({ status: "failed" })}>${count(failed)}</a> <small>${percent(failed, traces)}</small></dd></div>
      <div><dt>Runs</dt><dd>${count(sum((bucket) => bucket.runs))}</dd></div>
      <div><dt>Tokens</dt><dd>${short(tokens)}</dd></div>
      <div><dt>Cost</dt><dd>${dollars(cost)}</dd></div>
    </dl>
    <div class="charts">
      <${Chart} title="Traces" total=${count(traces)} buckets=${buckets} format=${count} href=${bucketHref({})} isMain=${true} series=${[
        { name: "failed", class: "is-failed", value: (bucket) => bucket.traces.failed },
        { name: "running", class: "is-running", value: (bucket) => bucket.traces.running },
        { name: "completed", class: "is-completed", value: (bucket) => bucket.traces.completed },
      ]} />
      <${Chart} title="Latency of traces" total="" kind="lines" buckets=${buckets} format=${duration} href=${bucketHref({})} series=${["p50", "p95", "p99"].map(
        (name) => ({ name, class: `is-${name}`, value: (bucket) => bucket.latency_ms?.[name] ?? null }),
      )} />
      <${Chart} title="Failed traces" total=${count(failed)} buckets=${buckets} format=${count} href=${bucketHref({ status: "failed" })} series=${[{ name: "failed", class: "is-failed", value: (bucket) => bucket.traces.failed }]} />
      ${cost > 0 ? html`<${Chart} title="Cost" total=${dollars(cost)} buckets=${buckets} format=${dollars} href=${bucketHref({})} series=${[{ name: "US dollars", class: "is-tokens", value: (bucket) => Number(bucket.total_cost) }]} />`
        : html`<${Chart} title="Tokens" total=${short(tokens)} buckets=${buckets} format=${short} href=${bucketHref({})} series=${[{ name: "tokens", class: "is-tokens", value: (bucket) => bucket.total_tokens }]} />`}
    </div>
    <div class="tables">
      <${Slowest} names=${found.names} list=${list} />
      <${MostFailing} names=${found.names} list=${list} />
      <${Models} models=${found.models} />
      <${Projects} projects=${found.projects} list=${list} />
    </div>
    ${found.is_whole ? null : html`<p class="note">Latencies, models and names are of the newest traces and runs of every part of this time: there are more than are looked at. Counts, tokens and costs of the charts and of projects are of all.</p>`}`;
}

/** The last moment before a time: the list counts both ends. */
function lastOf(end) {
  return new Date(end - 1).toISOString().replace("Z", "999Z");
}

function Table({ title, heads, rows }) {
  return html`<section class="card"><h2>${title}</h2>
    ${rows.length ? html`<div class="table-box" tabindex="0" role="group" aria-label=${title}><table class="numbers"><thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead><tbody>${rows}</tbody></table></div>` : html`<p class="nothing">Nothing in this time</p>`}</section>`;
}

function Slowest({ names, list }) {
  const slow = names.filter((line) => line.latency_ms).sort((a, b) => b.latency_ms.p95 - a.latency_ms.p95).slice(0, 8);
  return html`<${Table} title="Slowest" heads=${["Name", "p50", "p95", ""]} rows=${slow.map((line) => html`<tr key=${line.name}>
    <th scope="row"><a href=${list({ search: line.name })}>${line.name || "(no name)"}</a></th><td>${duration(line.latency_ms.p50)}</td><td>${duration(line.latency_ms.p95)}</td>
    <td class="bar-cell"><${ShareBar} share=${line.latency_ms.p95 / slow[0].latency_ms.p95} /></td></tr>`)} />`;
}

function MostFailing({ names, list }) {
  const failing = names.filter((line) => line.failed).sort((a, b) => b.failed / b.runs - a.failed / a.runs).slice(0, 8);
  return html`<${Table} title="Most failing" heads=${["Name", "Failed", "Of all", ""]} rows=${failing.map((line) => html`<tr key=${line.name}>
    <th scope="row"><a href=${list({ search: line.name, status: "failed" })}>${line.name || "(no name)"}</a></th><td>${count(line.failed)}</td><td>${percent(line.failed, line.runs)}</td>
    <td class="bar-cell"><${ShareBar} share=${line.failed / line.runs} class="is-failed" /></td></tr>`)} />`;
}

function Models({ models }) {
  const most = Math.max(1, ...models.map((line) => line.total_tokens));
  return html`<${Table} title="Models" heads=${["Model", "Runs", "In", "Out", "Cost", "p95", ""]} rows=${models.slice(0, 10).map((line) => html`<tr key=${line.name}>
    <th scope="row">${line.name || "(not told)"}</th><td>${count(line.runs)}</td><td>${short(line.prompt_tokens)}</td><td>${short(line.completion_tokens)}</td><td>${dollars(line.total_cost)}</td>
    <td>${line.latency_ms ? duration(line.latency_ms.p95) : ""}</td><td class="bar-cell"><${ShareBar} share=${line.total_tokens / most} /></td></tr>`)} />`;
}

function Projects({ projects, list }) {
  const most = Math.max(1, ...projects.map((line) => line.runs));
  return html`<${Table} title="Projects" heads=${["Project", "Traces", "Failed", "Tokens", "Cost", ""]} rows=${projects.map((line) => html`<tr key=${line.name}>
    <th scope="row"><a href=${list({ project: line.name })}>${line.name}</a></th><td>${count(line.runs)}</td><td>${percent(line.failed, line.runs)}</td><td>${short(line.total_tokens)}</td><td>${dollars(line.total_cost)}</td>
    <td class="bar-cell"><${ShareBar} share=${line.runs / most} /></td></tr>`)} />`;
}
