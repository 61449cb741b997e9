// The list of traces.

import { choice } from "./choosing.js";
import { FilterBar } from "./filters.js";
import { FirstSteps } from "./first_steps.js";
import { LiveSwitch, Problem } from "./frame.js";
import { Icon, StatusIcon, TypeIcon } from "./icons.js";
import { useKeys } from "./keyboard.js";
import { Ago } from "./moments.js";
import { count, counted, dollars, short } from "./numbers.js";
import { place, traceHref } from "./place.js";
import { remembered } from "./remembered.js";
import { useRowHeight, useRows } from "./rows.js";
import { LogStream } from "./stream.js";
import { duration } from "./times.js";
import { FILTERS, filtersOf, isFiltered, TraceList } from "./trace_list.js";
import { classes, html, useEffect, useLayoutEffect, useMemo, useRef, useState, useStore, useNow, useTitle } from "./view.js";

const ROW = 40;
const NARROW_ROW = 62;
const HEAD = 32;
const MORE_ROWS = 20;

// Who comes back from a trace finds the list as it was left.
let left = null;

export function TracesPage() {
  useStore(place);
  const search = useRememberedFilters();
  const filters = filtersOf(new URLSearchParams(search));
  const list = useMemo(() => (left?.search === search ? left.list : new TraceList(filters)), [search]);
  useStore(list);
  const stream = useStream(list);
  useTitle(filters.project || "Traces");
  const isFirst = list.total === 0 && !isFiltered(filters) && !list.error;
  if (isFirst) return html`<${FirstSteps} />`;
  return html`<div class="traces">
    <h1 class="unseen">Traces</h1>
    <${FilterBar} filters=${filters}>
      <span class="total" role="status">${list.isRead ? foundWords(list) : ""}</span>
      ${stream ? html`<${LiveSwitch} stream=${stream} />` : null}
    <//>
    ${list.error ? html`<${Problem} error=${list.error} retry=${() => list.load()} />` : null}
    ${list.isEmpty && isFiltered(filters) ? html`<${NothingFound} filters=${filters} />` : html`<${TraceRows} key=${search} list=${list} search=${search} />`}
  </div>`;
}

function foundWords({ total, rows, hasMore }) {
  return total === null ? `${count(rows.length)}${hasMore ? "+" : ""} found` : counted(total, "trace");
}

/** The query of the address. An address without one takes up the filters that were last in use. */
function useRememberedFilters() {
  const wanted = FILTERS.some((name) => place.parameters.get(name));
  const first = useRef(true);
  const kept = first.current && !wanted && place.path === "/" ? remembered.get("filters", "") : "";
  const search = kept || location.search;
  useLayoutEffect(() => {
    first.current = false;
    if (kept) place.go(`/${kept}`, { replace: true });
    remembered.set("filters", location.search);
  }, [search]);
  return search;
}

function useStream(list) {
  const [stream, setStream] = useState(null);
  const current = useRef(list);
  current.current = list;
  useEffect(() => {
    const opened = new LogStream({}, () => current.current.refresh());
    setStream(opened);
    return () => opened.close();
  }, []);
  // A list that was left and taken up again may have grown old.
  useEffect(() => { if (left?.list === list) list.refresh(); }, [list]);
  return stream;
}

function NothingFound({ filters }) {
  const clear = () => place.set(Object.fromEntries(FILTERS.map((name) => [name, null])));
  const mayBeElsewhere = filters.search && filters.search_in !== "all";
  return html`<div class="empty"><h2>No trace matches these filters</h2><p class="empty-ways">
    ${mayBeElsewhere ? html`<button type="button" onClick=${() => place.set({ search_in: "all" })}>Search all texts, not names alone</button>` : null}
    <button type="button" onClick=${clear}>Clear the filters</button></p></div>`;
}

function TraceRows({ list, search }) {
  const rowHeight = useRowHeight(ROW, NARROW_ROW);
  const { rows } = list;
  const { box, shows, first, last, top } = useRows({ count: rows.length, rowHeight, head: HEAD });
  const [currentId, setCurrentId] = useState(left?.search === search ? left.currentId : null);
  const now = useNow(5000);
  const above = useAnchor(rows, box, rowHeight, top);
  useKept(list, search, box, currentId);

  list.lookAt(() => ({ first: Math.floor(top / rowHeight), last }));
  // A search through all texts may come back without a find and say where it is to go on.
  useEffect(() => { if (last > rows.length - MORE_ROWS) list.more(); }, [last, rows.length, list.isLoading]);

  const current = rows.findIndex((row) => row.id === currentId);
  const move = (step) => {
    if (!rows.length) return;
    const target = current === -1 ? (step > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, current + step));
    setCurrentId(rows[target].id);
    shows(target);
    box.current.focus({ preventScroll: true });
  };
  const open = () => { if (current !== -1) place.go(traceHref(rows[current].id)); };
  useKeys([
    { keys: ["j", "ArrowDown"], words: "next trace", run: () => move(1) },
    { keys: ["k", "ArrowUp"], words: "trace before", run: () => move(-1) },
    { keys: ["PageDown"], words: null, run: () => move(12) },
    { keys: ["PageUp"], words: null, run: () => move(-12) },
    { keys: ["g", "Home"], words: "first trace", run: () => move(-rows.length) },
    { keys: ["Enter", "o"], words: "open the trace", run: open },
    { keys: ["c"], words: "compare the trace with another", run: () => { if (current !== -1) choice.take(rows[current]); } },
    { keys: ["Escape"], words: "let go of the trace", run: () => setCurrentId(null) },
  ]);
  const slowest = useMemo(() => rows.reduce((most, row) => Math.max(most, lasted(row, now) ?? 0), 1), [rows, now]);
  const isLoadingFirst = list.isLoading && !rows.length && !list.error;
  return html`<div class="grid-area">
    ${above > 0 && top > 0 ? html`<button type="button" class="arrived" onClick=${() => { box.current.scrollTop = 0; }}><${Icon} name="up" size=${14} />${above} new</button>` : null}
    <div class="grid" ref=${box} role="grid" tabindex="0" aria-label="Traces" aria-rowcount=${list.total ?? -1} aria-busy=${list.isLoading} aria-activedescendant=${current >= first && current < last ? `trace-${currentId}` : null}>
      <div class="grid-head" role="row"><${Heads} /></div>
      <div class="grid-rows" role="rowgroup" style=${{ height: `${rows.length * rowHeight}px` }}>
        ${rows.slice(first, last).map(
          (row, i) => html`<${TraceRow} key=${row.id} row=${row} place=${first + i} rowHeight=${rowHeight} now=${now} slowest=${slowest} isCurrent=${row.id === currentId} isFresh=${list.fresh.has(row.id)} />`,
        )}
      </div>
      ${isLoadingFirst ? html`<div class="skeleton" aria-hidden="true">${Array.from({ length: 12 }, (_, i) => html`<div key=${i}></div>`)}</div>` : null}
      ${!list.hasMore && rows.length > 30 ? html`<p class="grid-end">The first trace of all</p>` : null}
    </div>
  </div>`;
}

const HEADS = [["", "Status"], ["Name"], ["Project"], ["Latency"], ["Tokens"], ["Cost"], ["Started"]];

function Heads() {
  return HEADS.map(([words, unseen]) => html`<span role="columnheader" class=${classes("head", words && `cell-${words.toLowerCase()}`)}>${words}${unseen ? html`<span class="unseen">${unseen}</span>` : null}</span>`);
}

function TraceRow({ row, place: rowPlace, rowHeight, now, slowest, isCurrent, isFresh }) {
  return useMemo(() => drawnRow(row, rowPlace, rowHeight, now, slowest, isCurrent, isFresh), [row, rowPlace, rowHeight, now, slowest, isCurrent, isFresh]);
}

function drawnRow(row, rowPlace, rowHeight, now, slowest, isCurrent, isFresh) {
  const took = lasted(row, now);
  const top = { transform: `translateY(${rowPlace * rowHeight}px)`, height: `${rowHeight}px` };
  return html`<div class=${classes("grid-row", isCurrent && "is-current", isFresh && "is-fresh", row.status === "failed" && "is-failed")} style=${top} role="row" id=${`trace-${row.id}`} aria-rowindex=${rowPlace + 2} aria-selected=${isCurrent}>
    <span role="gridcell" class="cell-status">${row.is_root_missing ? html`<${Icon} name="missing" label="Root missing" class="type-missing" />` : html`<${StatusIcon} status=${row.status} since=${row.start} now=${now} />`}</span>
    <span role="gridcell" class="cell-name">
      <${TypeIcon} type=${row.run_type} />
      <a class="row-link" href=${traceHref(row.id)} tabindex="-1">${row.name || "(no name)"}</a>
      ${row.is_root_missing ? html`<span class="badge" title="The root run itself never came: this is the first run below it">root missing</span>` : null}
      ${row.tags.slice(0, 3).map((tag) => html`<span class="tag">${tag}</span>`)}
      ${row.tags.length > 3 ? html`<span class="tag">+${row.tags.length - 3}</span>` : null}
      <span class="snippet">${snippet(row)}</span>
    </span>
    <span role="gridcell" class="cell-project">${row.project_name}</span>
    <span role="gridcell" class="cell-latency">${took === null ? null : html`<span class="latency-words"><span key=${duration(took)}>${duration(took)}</span></span><${LatencyBar} took=${took} slowest=${slowest} status=${row.status} />`}</span>
    <span role="gridcell" class="cell-tokens">${short(row.trace_total_tokens)}</span>
    <span role="gridcell" class="cell-cost">${dollars(row.trace_total_cost)}</span>
    <span role="gridcell" class="cell-started"><${Ago} iso=${row.start_time} ms=${row.start} now=${now} /></span>
  </div>`;
}

/** How long a trace took, on a scale on which each step to the right is a multiple. */
function LatencyBar({ took, slowest, status }) {
  const share = Math.log1p(took) / Math.log1p(slowest);
  return html`<span class=${`latency-bar for-${status}`} aria-hidden="true"><span style=${{ transform: `scaleX(${Math.max(0.02, Math.min(1, share)).toFixed(3)})` }}></span></span>`;
}

/** For how long a trace ran, or has run; null where nothing tells, because the root never came. */
function lasted(row, now) {
  return row.is_root_missing ? null : Math.max(0, (row.end ?? now) - row.start);
}

function snippet(row) {
  if (row.error) return row.error.split("\n", 1)[0];
  return plain([row.outputs, row.inputs].find((preview) => typeof preview === "string") ?? "");
}

/** The words of a preview, which may be the beginning of some JSON, of markdown, or of both. */
function plain(preview) {
  return preview
    .replace(/^\{"[^"]{1,40}":"/, "")
    .replace(/"\}$/, "")
    .replace(/\\[nrt]/g, " ")
    .replace(/\\(["\\/])/g, "$1")
    .replace(/\*\*|__|`+|^#+ /g, "")
    .replace(/\s*\|[\s|:-]*/g, " | ");
}

/** Holds what the viewer reads where it is when rows come above it. Gives how many came that were not seen yet. */
function useAnchor(rows, box, rowHeight, top) {
  const anchor = useRef({ id: null, at: 0 });
  const [above, setAbove] = useState(0);
  useLayoutEffect(() => {
    const at = rows.findIndex((row) => row.id === anchor.current.id);
    const came = at - anchor.current.at;
    if (at === -1 || came <= 0 || top === 0) return;
    anchor.current.at = at;
    setAbove((old) => old + came);
    box.current.scrollTop += came * rowHeight;
  }, [rows]);
  useLayoutEffect(() => {
    const at = Math.floor(top / rowHeight);
    anchor.current = { id: rows[at]?.id ?? null, at };
    if (at === 0) setAbove(0);
  }, [top, rows.length === 0]);
  return above;
}

function useKept(list, search, box, currentId) {
  const live = useRef();
  live.current = { list, search, currentId };
  useLayoutEffect(() => {
    if (left?.list === list && box.current) box.current.scrollTop = left.scrollTop;
    const element = box.current;
    return () => { left = { ...live.current, scrollTop: element?.scrollTop ?? 0 }; };
  }, [list]);
}
