// The tree of a trace and its timeline, row by row on one scale.

import { Icon, StatusIcon, TypeIcon, typeName } from "./icons.js";
import { useKeys } from "./keyboard.js";
import { dollars, short } from "./numbers.js";
import { useRows } from "./rows.js";
import { duration } from "./times.js";
import { classes, html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./view.js";

const ROW = 30;
const HEAD = 28;
const INDENT = 16;
const INDENT_LEVELS = 18;
const TICK_PX = 110;
const TICK_WORDS_PX = 48;
const ZOOM_STEP = 0.6;

/** The rows. `selected` is the id of the run that is looked at; `choose(step)` looks at another. */
export function Timeline({ store, selected, choose, found, now }) {
  const { rows, tree, scale } = store;
  const { box, shows, first, last } = useRows({ count: rows.length, rowHeight: ROW, head: HEAD });
  const pool = usePool(last - first);
  const at = rows.findIndex((step) => step.id === selected);
  const shownFor = useRef(null);

  useLayoutEffect(() => {
    if (at === -1 || shownFor.current === selected) return;
    shownFor.current = selected;
    shows(at);
  }, [selected, at]);

  const move = (step) => {
    const target = rows[Math.max(0, Math.min(rows.length - 1, at + step))];
    if (target) choose(target);
  };
  const fold = () => {
    const step = rows[at];
    if (!step) return;
    if (step.size && !store.folded.has(step.id)) store.toggle(step);
    else if (step.parent) choose(step.parent);
  };
  const unfold = () => {
    const step = rows[at];
    if (!step?.size) return;
    if (store.folded.has(step.id)) store.toggle(step);
    else choose(step.children[0]);
  };
  useKeys([
    { keys: ["j", "ArrowDown"], words: "next run", run: () => move(1) },
    { keys: ["k", "ArrowUp"], words: "run before", run: () => move(-1) },
    { keys: ["ArrowLeft", "h"], words: "fold, or go to the parent", run: fold },
    { keys: ["ArrowRight", "l"], words: "unfold, or go to the first child", run: unfold },
    { keys: ["PageDown"], words: null, run: () => move(16) },
    { keys: ["PageUp"], words: null, run: () => move(-16) },
    { keys: ["Home", "g"], words: "first run", run: () => move(-rows.length) },
    { keys: ["End", "G"], words: "last run", run: () => move(rows.length) },
    { keys: ["+", "="], words: "zoom in", run: () => store.zoom(scale.zoomed(ZOOM_STEP)) },
    { keys: ["-"], words: "zoom out", run: () => store.zoom(scale.zoomed(1 / ZOOM_STEP)) },
    { keys: ["0"], words: "show the whole time", run: () => store.zoom(scale.whole) },
    { keys: ["[", ","], words: "earlier", run: () => store.zoom(scale.moved(-0.2)) },
    { keys: ["]", "."], words: "later", run: () => store.zoom(scale.moved(0.2)) },
  ]);
  useWheelZoom(box, store);

  return html`<div class="steps" ref=${box} role="treegrid" tabindex="0" aria-label="Runs of the trace" aria-rowcount=${rows.length + 1} aria-activedescendant=${at >= first && at < last ? `step-${selected}` : null}>
    <div class="steps-head" role="row">
      <span role="columnheader" class="cell-step">Run</span>
      <span role="columnheader" class="cell-usage">Tokens</span>
      <span role="columnheader" class="cell-price">Cost</span>
      <span role="columnheader" class="cell-track"><span class="unseen">Timeline</span><${Axis} scale=${scale} /></span>
    </div>
    <div class="steps-rows" role="rowgroup" style=${{ height: `${rows.length * ROW}px` }}>
      ${rows.slice(first, last).map((step, i) => {
        const state = { isCurrent: step.id === selected, isFolded: store.folded.has(step.id), isFound: found.has(step.id) };
        // Rows that are scrolled out of sight lend their elements to those that come into it.
        return html`<${StepRow} key=${(first + i) % pool} step=${step} row=${first + i} scale=${scale} now=${step.isRunning ? now : 0} store=${store} choose=${choose} ...${state} />`;
      })}
    </div>
    ${tree.steps.length > 1 ? null : html`<p class="grid-end">This trace is a single run</p>`}
  </div>`;
}

/** The most rows that were drawn at once so far. */
function usePool(drawn) {
  const most = useRef(0);
  most.current = Math.max(most.current, drawn);
  return most.current;
}

function StepRow({ step, row, scale, now, store, choose, isCurrent, isFolded, isFound }) {
  const place = { transform: `translateY(${row * ROW}px)`, height: `${ROW}px` };
  const names = classes("step", isCurrent && "is-current", isFound && "is-found", step.isOrigin && "is-origin", step.isMissing && "is-missing");
  const indent = { paddingLeft: `${Math.min(step.level, INDENT_LEVELS) * INDENT}px`, "--levels": Math.min(step.level, INDENT_LEVELS) };
  const fold = (event) => {
    event.stopPropagation();
    store.toggle(step);
  };
  return useMemo(() => html`<div class=${names} style=${place} role="row" id=${`step-${step.id}`} aria-rowindex=${row + 2} aria-level=${step.level + 1} aria-expanded=${step.size ? !isFolded : null} aria-selected=${isCurrent} onClick=${() => choose(step)}>
    <span role="gridcell" class="cell-step" style=${indent}>
      ${step.size ? html`<button type="button" class="fold" tabindex="-1" aria-label=${`${isFolded ? "Unfold" : "Fold"} ${step.name}`} onClick=${fold}><${Icon} name="chevron" size=${12} /></button>` : html`<span class="fold"></span>`}
      <${TypeIcon} type=${step.type} isMissing=${step.isMissing} />
      <span class="step-name" title=${step.name}>${step.isMissing ? "Never came" : step.name || "(no name)"}</span>
      ${step.level > INDENT_LEVELS ? html`<span class="badge" title="Levels below the root">${step.level}</span>` : null}
      ${step.isCycle ? html`<span class="badge for-warning" title="This run is its own ancestor: the circle is cut here">cycle</span>` : null}
      ${step.isMissing ? html`<span class="badge for-warning" title="Runs name this one as their parent, but it never came">${step.id.slice(0, 8)}</span>` : null}
      ${step.isMissing ? null : html`<${StatusIcon} status=${step.status} since=${step.start} now=${now} />`}
      ${isFolded ? html`<span class="badge">+${step.size}</span>` : null}
    </span>
    <span role="gridcell" class="cell-usage">${short(step.tokens)}</span>
    <span role="gridcell" class="cell-price">${dollars(step.cost)}</span>
    <span role="gridcell" class="cell-track">${step.start === null ? null : html`<${Bar} step=${step} scale=${scale} now=${now} />`}</span>
  </div>`, [step, row, scale, now, isCurrent, isFolded, isFound]);
}

function Bar({ step, scale, now }) {
  const end = step.end ?? (step.isRunning ? Math.max(now, step.start) : step.start);
  const left = scale.at(step.start);
  const right = scale.at(end);
  const took = html`<span class=${classes("bar-words", step.isSlow && "is-slow")}>${duration(end - step.start)}</span>`;
  if (right < 0 || left > 1) {
    return html`<span class=${classes("beyond", left > 1 && "is-later")}>${left > 1 ? "→" : "←"}</span>`;
  }
  const [from, to] = [Math.max(0, left), Math.min(1, right)];
  const names = classes("span", `type-${typeName(step.type)}`, step.status === "failed" && "is-failed", step.isRunning && "is-running", step.isSlow && "is-slow");
  const width = { left: `${100 * from}%`, width: `max(2px, ${100 * (to - from)}%)` };
  // The words go where there is room: behind the bar, before it, or on it.
  const words = to < 0.82 ? { left: `calc(${100 * to}% + 6px)` } : from > 0.18 ? { right: `calc(${100 * (1 - from)}% + 6px)` } : { left: `calc(${100 * from}% + 6px)` };
  const isInside = to >= 0.82 && from <= 0.18;
  return html`<span class=${names} style=${width}></span><span class=${classes("bar-place", isInside && "is-inside")} style=${words}>${took}</span>`;
}

function Axis({ scale }) {
  const axis = useRef();
  const [width, setWidth] = useState(400);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(entry.contentRect.width));
    observer.observe(axis.current);
    return () => observer.disconnect();
  }, []);
  const zero = scale.whole.from;
  return html`<span class="axis" ref=${axis} aria-hidden="true">${scale.ticks(Math.max(2, width / TICK_PX)).map((tick) => {
    const at = scale.at(zero + tick);
    return at > 1 - TICK_WORDS_PX / width ? null : html`<span class="tick" key=${tick} style=${{ left: `${100 * at}%` }}>${duration(tick)}</span>`;
  })}</span>`;
}

/** Turning the wheel with Ctrl zooms around the pointer; with Shift it moves along. */
function useWheelZoom(box, store) {
  useEffect(() => {
    const turn = (event) => {
      if (!event.ctrlKey && !event.shiftKey) return;
      const track = event.target.closest?.(".cell-track");
      if (!track) return;
      event.preventDefault();
      const { left, width } = track.getBoundingClientRect();
      const by = event.deltaY || event.deltaX;
      if (event.ctrlKey) store.zoom(store.scale.zoomed(Math.exp(by / 300), (event.clientX - left) / width));
      else store.zoom(store.scale.moved(by / width));
    };
    box.current.addEventListener("wheel", turn, { passive: false });
    return () => box.current?.removeEventListener("wheel", turn);
  }, []);
}
