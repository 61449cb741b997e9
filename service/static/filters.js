// The filters of the list of traces. The address holds them.

import { get } from "./api.js";
import { Icon } from "./icons.js";
import { useKeys } from "./keyboard.js";
import { place } from "./place.js";
import { fieldTime, timeOfField } from "./times.js";
import { FILTERS } from "./trace_list.js";
import { classes, html, useEffect, useRef, useState } from "./view.js";

const TYPING_MS = 200;
const STATUSES = [["", "All"], ["running", "Running"], ["completed", "Completed"], ["failed", "Failed"]];
const SPANS = [["", "Any time"], ["15m", "Last 15 minutes"], ["1h", "Last hour"], ["24h", "Last 24 hours"], ["7d", "Last 7 days"], ["30d", "Last 30 days"], ["custom", "From … to …"]];

export function FilterBar({ filters, children }) {
  const isFiltered = FILTERS.some((name) => filters[name]);
  const clear = () => place.set(Object.fromEntries(FILTERS.map((name) => [name, null])));
  return html`<form class="filters" role="search" aria-label="Filter traces" onSubmit=${(event) => event.preventDefault()}>
    <${SearchField} value=${filters.search} />
    <${ProjectField} value=${filters.project} />
    <${StatusField} value=${filters.status} />
    <${SpanField} filters=${filters} />
    ${isFiltered ? html`<button type="button" class="quiet" onClick=${clear}>Clear</button>` : null}
    <span class="filters-end">${children}</span>
  </form>`;
}

function SearchField({ value }) {
  const field = useRef();
  const timer = useRef();
  useKeys([{ keys: ["/"], words: "search", run: () => field.current.focus() }]);
  useEffect(() => {
    if (document.activeElement !== field.current) field.current.value = value;
  }, [value]);
  const input = () => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => place.set({ search: field.current.value.trim() }, { replace: true }), TYPING_MS);
  };
  const leave = (event) => {
    if (event.key === "Escape") field.current.blur();
  };
  return html`<label class="search"><${Icon} name="search" size=${14} /><span class="unseen">Search names</span>
    <input ref=${field} type="search" placeholder="Search names" defaultValue=${value} onInput=${input} onKeyDown=${leave} autocomplete="off" spellcheck=${false} /><kbd>/</kbd></label>`;
}

function ProjectField({ value }) {
  const [names, setNames] = useState([]);
  const read = () => get("/dashboard/stats/summary").then(
    (summary) => setNames(Object.keys(summary.stats.project_distribution).sort((a, b) => a.localeCompare(b))),
    () => {}, // The list itself says what is wrong.
  );
  useEffect(() => { read(); }, []);
  const shown = value && !names.includes(value) ? [value, ...names] : names;
  return html`<label><span class="unseen">Project</span><select onFocus=${read} value=${value} onChange=${(event) => place.set({ project: event.target.value })}>
    <option value="">All projects</option>${shown.map((name) => html`<option key=${name} value=${name} selected=${name === value}>${name}</option>`)}
  </select></label>`;
}

function StatusField({ value }) {
  return html`<div class="segments" role="group" aria-label="Status">${STATUSES.map(
    ([status, words]) => html`<button type="button" key=${status} class=${classes(status && `for-${status}`)} aria-pressed=${status === value} onClick=${() => place.set({ status })}>${words}</button>`,
  )}</div>`;
}

function SpanField({ filters }) {
  const isCustom = Boolean(filters.from || filters.to);
  const [isOpen, setOpen] = useState(false);
  const change = (event) => {
    const chosen = event.target.value;
    setOpen(chosen === "custom");
    if (chosen !== "custom") place.set({ range: chosen, from: null, to: null });
  };
  const shown = isCustom || isOpen ? "custom" : filters.range;
  return html`<label><span class="unseen">Time</span><select value=${shown} onChange=${change}>
      ${SPANS.map(([span, words]) => html`<option key=${span} value=${span} selected=${span === shown}>${words}</option>`)}
    </select></label>
    ${shown === "custom" ? html`<span class="span-fields"><${TimeField} name="from" words="From" value=${filters.from} /><${TimeField} name="to" words="To" value=${filters.to} /></span>` : null}`;
}

function TimeField({ name, words, value }) {
  const change = (event) => {
    const ms = timeOfField(event.target.value);
    place.set({ [name]: ms === null ? null : new Date(ms).toISOString(), range: null });
  };
  return html`<label><span class="span-word">${words}</span><input type="datetime-local" value=${value ? fieldTime(Date.parse(value)) : ""} onChange=${change} /></label>`;
}
