// A trace: its tree and timeline, and beside them the run that is looked at.

import { CopyButton } from "./copying.js";
import { homeHref, LiveSwitch, Problem } from "./frame.js";
import { Icon, STATUS_WORDS, StatusIcon, TypeIcon } from "./icons.js";
import { useKeys } from "./keyboard.js";
import { later } from "./later.js";
import { Minimap } from "./minimap.js";
import { Ago } from "./moments.js";
import { counted, count, dollars } from "./numbers.js";
import { place, tracesHref } from "./place.js";
import { ShareButton } from "./sharing.js";
import { Splitter } from "./splitter.js";
import { LogStream } from "./stream.js";
import { Timeline } from "./timeline.js";
import { duration } from "./times.js";
import { OwnTrace, SharedTrace } from "./trace_sources.js";
import { TraceStore } from "./trace_store.js";
import { classes, html, useEffect, useLayoutEffect, useMemo, useRef, useState, useStore, useNow, useTitle } from "./view.js";

const MINIMAP_ROWS = 24;
const RunPanel = later(() => import("./run.js"), "RunPanel");
const History = later(() => import("./history.js"), "History");

export function TracePage({ id }) {
  return html`<${TraceView} source=${useMemo(() => new OwnTrace(id), [id])} />`;
}

/** A trace for whoever has the token of its share: read-only, and without a key. */
export function SharedPage({ token }) {
  return html`<${TraceView} source=${useMemo(() => new SharedTrace(token), [token])} />`;
}

function TraceView({ source }) {
  useStore(place);
  const store = useStore(useMemo(() => new TraceStore(source), [source]));
  const [news, setNews] = useState(0);
  const stream = useTraceStream(source, store, () => setNews((n) => n + 1));
  const { tree, error } = store;
  const present = useNow(tree?.isRunning && store.asOf === null ? 1000 : 0);
  const now = store.asOf?.at ?? present;
  const selected = place.parameters.get("run") ?? (isWide() ? source.firstRunId : null);
  useTitle(tree?.root.name || "Trace");

  const choose = (step) => place.set({ run: step.id, tab: keptTab(), version: null }, { replace: place.parameters.has("run") });
  const leaves = isWide() && !source.isShared;
  const close = () => (place.parameters.has("run") && leaves ? place.go(homeHref()) : place.set({ run: null, tab: null, version: null }));
  useKeys([{ keys: ["Escape"], words: "back", run: () => (leaves ? place.go(homeHref()) : close()) }]);

  if (!tree) {
    if (!error) return html`<p class="loading" role="status">Reading the trace…</p>`;
    return html`<${NoTrace} store=${store} error=${error} news=${news} />`;
  }
  const step = tree.byId.get(selected) ?? null;
  const panel = selected ? html`<${RunPanel} key=${selected} runId=${selected} step=${step} news=${news} store=${store} />` : null;
  return html`<div class="trace">
    <${TraceHead} store=${store} stream=${stream} now=${now} choose=${choose} />
    ${error ? html`<${Problem} error=${error} retry=${() => store.read()} />` : null}
    <div class=${classes("trace-body", panel && "has-panel")}>
      <${TracePart} store=${store} selected=${selected} choose=${choose} now=${now} />
      ${panel ? html`<${Splitter} />` : null}
      ${panel ? html`<aside class="panel" aria-label="Run"><button type="button" class="quiet panel-back" onClick=${close}><${Icon} name="chevron" size=${12} />Back to the tree</button>${panel}</aside>` : null}
    </div>
  </div>`;
}

/** What there is in place of a trace: why it cannot be shown, and of one that was erased what happened to it. */
function NoTrace({ store, error, news }) {
  const { source } = store;
  const isAbsent = error.status === 404;
  const words = !isAbsent ? "The trace cannot be shown" : source.isShared ? "Nothing is shared here" : "There is no such trace";
  const retry = () => store.read();
  return html`<div class="empty"><h1>${words}</h1>
    ${isAbsent ? html`<p role="alert">${error.message}</p>` : html`<${Problem} error=${error} retry=${retry} />`}
    <p class="empty-ways">${isAbsent ? html`<button type="button" onClick=${retry}>Look again</button>` : null}${source.isShared ? null : html`<a class="button" href=${homeHref()}>Go to the traces</a>`}</p>
    ${isAbsent && !source.isShared ? html`<${History} runId=${source.traceId} news=${news} store=${store} isAlone=${true} />` : null}
  </div>`;
}

function isWide() {
  return matchMedia("(min-width: 960px)").matches;
}

function keptTab() {
  return place.parameters.get("tab") === "history" ? null : place.parameters.get("tab");
}

/** Follows what is said of a trace; null where it is not to be followed. */
function useTraceStream(source, store, onNews) {
  const [stream, setStream] = useState(null);
  useLayoutEffect(() => { store.read(); }, [source]);
  useEffect(() => {
    if (source.isShared) return undefined;
    let isConnected = false;
    const opened = new LogStream({ trace_id: source.traceId }, () => {
      if (!isConnected) {
        isConnected = true;
        store.catchUp();
        return;
      }
      store.refresh();
      store.forgetRuns();
      onNews();
    });
    setStream(opened);
    return () => opened.close();
  }, [source]);
  return stream;
}

function TraceHead({ store, stream, now, choose }) {
  const { tree, source } = store;
  const { root, causes, hasFailed } = tree;
  const project = useProject(store);
  const took = (root.end ?? (root.isMissing ? tree.to : now)) - (root.start ?? tree.from);
  const status = hasFailed ? "failed" : root.status;
  return html`<header class="trace-head">
    <div class="trace-title">
      ${source.isShared ? null : html`<a class="quiet back" href=${homeHref()} aria-label="Back to the traces"><${Icon} name="chevron" /></a>`}
      <${TypeIcon} type=${root.type} isMissing=${root.isMissing} />
      <h1>${root.isMissing ? "A trace whose root never came" : root.name || "(no name)"}</h1>
      <span class="title-tools">
        <${CopyButton} text=${source.traceId} label="Copy the trace's id" />
        <${CopyButton} text=${() => location.href} label="Copy a link to this page" words="Link" />
        ${source.isShared || root.isMissing ? null : html`<${ShareButton} runId=${root.id} />`}
      </span>
      <span class="head-end">${stream ? html`<${LiveSwitch} stream=${stream} />` : null}</span>
    </div>
    <dl class="facts">
      <div><dt>Status</dt><dd class=${`with-icon words-${status}`}><${StatusIcon} status=${status} isQuiet=${true} since=${root.start} now=${now} />${STATUS_WORDS[status]}</dd></div>
      ${project ? html`<div><dt>Project</dt><dd><a href=${tracesHref({ project })}>${project}</a></dd></div>` : null}
      ${root.start === null ? null : html`<div><dt>Started</dt><dd><${Ago} iso=${new Date(root.start).toISOString()} /></dd></div>`}
      <div><dt>Latency</dt><dd>${duration(took)}</dd></div>
      <div><dt>Runs</dt><dd>${count(tree.totalRuns)}</dd></div>
      ${root.tokens === null ? null : html`<div><dt>Tokens</dt><dd>${count(root.tokens)}</dd></div>`}
      ${root.cost === null ? null : html`<div><dt>Cost</dt><dd>${dollars(root.cost)}</dd></div>`}
    </dl>
    ${causes.length ? html`<${FailureNote} tree=${tree} choose=${choose} store=${store} />` : null}
  </header>`;
}

/** The project of the first run that there is. */
function useProject(store) {
  const [project, setProject] = useState(null);
  const first = store.tree.steps.find((step) => !step.isMissing);
  useEffect(() => {
    if (first) store.run(first.id).then((run) => setProject(run.project_name), () => {});
  }, [first?.id]);
  return project;
}

/** Where it failed: the way from the root to where its error began. Of failures that were handled only that there are any. */
function FailureNote({ tree, choose, store }) {
  const { root, causes, hasFailed } = tree;
  const selected = place.parameters.get("run");
  const at = Math.max(0, causes.findIndex((step) => step.id === selected));
  const step = causes[at];
  const show = (target) => {
    store.reveal(target);
    choose(target);
  };
  const next = () => show(step.id === selected ? causes[(at + 1) % causes.length] : step);
  useKeys([{ keys: ["e", "n"], words: "where it failed; the next failure", run: next }]);
  const way = tree.path(step).slice(1).map((one) => one.name || "(no name)");
  const handled = root.isRunning ? "" : `, and ${causes.length === 1 ? "was" : "were"} handled`;
  return html`<div class=${classes("failure", !hasFailed && "is-handled")}>
    <${Icon} name="failed" />
    ${hasFailed ? html`<p><strong>${way.length ? way.join(" › ") : step.name}</strong> <span>${step.sentence || "It failed."}</span></p>` : html`<p>${counted(causes.length, "step")} failed${handled}</p>`}
    <button type="button" onClick=${next}>${step.id === selected && causes.length > 1 ? "Next failure" : "Go to the failing step"}${causes.length > 1 ? html` <small>${at + 1} of ${causes.length}</small>` : null}</button>
  </div>`;
}

function TracePart({ store, selected, choose, now }) {
  const { tree, scale } = store;
  const [words, setWords] = useState("");
  const field = useRef();
  const found = useMemo(() => findSteps(tree, words), [tree, words]);
  const at = found.findIndex((step) => step.id === selected);
  const go = (by) => {
    if (!found.length) return;
    const target = found[(at + by + found.length) % found.length];
    store.reveal(target);
    choose(target);
  };
  const press = (event) => {
    if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") field.current.blur();
  };
  useKeys([{ keys: ["/"], words: "find in the tree", run: () => field.current.focus() }]);
  const ids = useMemo(() => new Set(found.map((step) => step.id)), [found]);
  return html`<section class="trace-part" aria-label="Tree and timeline">
    <div class="tools">
      <label class="search"><${Icon} name="search" size=${14} /><span class="unseen">Find in the tree</span>
        <input ref=${field} type="search" placeholder="Find in the tree" value=${words} onInput=${(event) => setWords(event.target.value)} onKeyDown=${press} autocomplete="off" spellcheck=${false} />
        ${words ? html`<span class="found" role="status">${found.length ? `${at + 1 || "–"} of ${found.length}` : "none"}</span>` : html`<kbd>/</kbd>`}</label>
      <span class="tools-end">
        ${scale.isWhole ? null : html`<button type="button" class="quiet" onClick=${() => store.zoom(scale.whole)}>Whole time</button>`}
        <button type="button" class="quiet" onClick=${() => store.zoom(scale.zoomed(1.7))} aria-label="Zoom out" title="Zoom out (-)" disabled=${scale.isWhole}>−</button>
        <button type="button" class="quiet" onClick=${() => store.zoom(scale.zoomed(0.6))} aria-label="Zoom in" title="Zoom in (+)">+</button>
        <button type="button" class="quiet" onClick=${() => store.unfoldAll()} aria-label="Unfold all" title="Unfold all"><${Icon} name="expand" /></button>
        <button type="button" class="quiet" onClick=${() => store.foldAll()} aria-label="Fold all" title="Fold all"><${Icon} name="collapse" /></button>
      </span>
    </div>
    ${tree.steps.length > MINIMAP_ROWS ? html`<${Minimap} store=${store} />` : null}
    ${store.asOf === null ? null : html`<p class="as-of" role="status">As of position ${count(store.asOf.position)} of the log: ${counted(tree.totalRuns, "run")} had come.</p>`}
    <${Timeline} store=${store} selected=${selected} choose=${choose} found=${ids} now=${now} />
  </section>`;
}

/** The steps whose name, type or error holds the words; none for no words. */
function findSteps(tree, words) {
  const wanted = words.trim().toLowerCase();
  if (!wanted) return [];
  return tree.steps.filter((step) => [step.name, step.type, step.error].some((text) => text?.toLowerCase().includes(wanted)));
}
