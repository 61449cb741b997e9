// The filters of the list of traces. The address holds them.

import { get } from "./api.js";
import { Icon } from "./icons.js";
import { useKeys } from "./keyboard.js";
import { place } from "./place.js";
import { fieldTime, timeOfField } from "./times.js";
import { FILTERS, isFiltered } from "./trace_list.js";
import { classes, html, useEffect, useRef, useState } from "./view.js";

const TYPING_MS = 200;
const AFTER_ROWS_MS = 300;
const STATUSES = [["", "All"], ["running", "Running"], ["completed", "Completed"], ["failed", "Failed"]];
const SPANS = [["", "Any time"], ["15m", "Last 15 minutes"], ["1h", "Last hour"], ["24h", "Last 24 hours"], ["7d", "Last 7 days"], ["30d", "Last 30 days"], ["custom", "From … to …"]];

export function FilterBar({ filters, children }) {
  const clear = () => place.set(Object.fromEntries(FILTERS.map((name) => [name, null])));
  return html`<form class="filters" role="search" aria-label="Filter traces" onSubmit=${(event) => event.preventDefault()}>
    <${SearchField} value=${filters.search} isEverywhere=${filters.search_in === "all"} />
    <${ProjectField} value=${filters.project} />
    <${StatusField} value=${filters.status} />
    <${SpanField} filters=${filters} />
    ${isFiltered(filters) ? html`<button type="button" class="quiet" onClick=${clear}>Clear</button>` : null}
    <span class="filters-end">${children}</span>
  </form>`;
}

/** What to search for, and where: in the names of traces, or in all that their runs say. */
function SearchField({ value, isEverywhere }) {
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
  const words = isEverywhere ? "Search all texts" : "Search names";
  const search = () => place.set({ search_in: isEverywhere ? null : "all" }, { replace: true });
  return html`<span class="search"><${Icon} name="search" size=${14} /><label class="unseen" for="search">${words}</label>
    <input id="search" ref=${field} type="search" placeholder=${words} defaultValue=${value} onInput=${input} onKeyDown=${leave} autocomplete="off" spellcheck=${false} /><kbd>/</kbd>
    <button type="button" class="quiet" aria-pressed=${isEverywhere} onClick=${search} title="Search the errors, inputs and outputs of all runs as well as names">All texts</button></span>`;
}

function ProjectField({ value }) {
  const [names, setNames] = useState([]);
  const read = () => get("/dashboard/stats/summary").then(
    (summary) => setNames(Object.keys(summary.stats.project_distribution).sort((a, b) => a.localeCompare(b))),
    () => {}, // The list itself says what is wrong.
  );
  useEffect(() => {
    const timer = setTimeout(read, AFTER_ROWS_MS); // The traces come first.
    return () => clearTimeout(timer);
  }, []);
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
