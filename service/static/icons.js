// Icons, drawn with lines of one width on a grid of 16.

import { html } from "./view.js";

const SHAPES = {
  chain: "M6.5 9.5l3-3M7 4.5l1-1a2.5 2.5 0 013.5 3.5l-1 1M9 11.5l-1 1A2.5 2.5 0 014.5 9l1-1",
  llm: "M8 2.500l1.4 3.6 3.6 1.4-3.6 1.400L8 12.5 6.6 8.9 3 7.500l3.6-1.400zM12.5 11v3M11 12.500h3",
  tool: "M9.8 6.200l3-3a3 3 0 01-4 4l-4.5 4.500a1.4 1.4 0 01-2-2L6.8 5.200a3 3 0 014-4l-3 3z",
  retriever: "M7 2.500a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM10.3 10.300l3.2 3.2",
  prompt: "M2.5 3.500h11v7h-6l-3 2.500v-2.500h-2zM5 6h6M5 8h4",
  parser: "M5.5 3c-2 0 0 5-2.5 5 2.5 0 .5 5 2.5 5M10.5 3c2 0 0 5 2.5 5-2.5 0-.5 5-2.5 5",
  embedding: "M3 3h2v2H3zM7 7h2v2H7zM11 11h2v2h-2zM11 3h2v2h-2zM3 11h2v2H3z",
  other: "M8 3a5 5 0 100 10A5 5 0 008 3z",
  missing: "M8 3a5 5 0 100 10A5 5 0 008 3zM6.5 6.500a1.5 1.5 0 112 1.400c-.4.2-.5.4-.5.900M8 10.800v.1",
  completed: "M3.5 8.500l3 3 6-7",
  failed: "M8 2.500l6 10.500H2zM8 6.500v3M8 11.300v.1",
  running: "M8 2.500a5.5 5.5 0 105.5 5.5",
  unended: "M8 2.500a5.5 5.500 0 100 11 5.5 5.500 0 000-11zM5.2 8h.1M8 8h.1M10.800 8h.1",
  chevron: "M6 4l4 4-4 4",
  copy: "M5.5 5.500h7v8h-7zM3.5 10.500v-8h7",
  close: "M4 4l8 8M12 4l-8 8",
  search: "M7 2.500a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM10.3 10.300l3.2 3.2",
  pause: "M5.5 3.500v9M10.5 3.500v9",
  play: "M5 3.500l7 4.5-7 4.500z",
  up: "M8 13V3.500M4 7l4-4 4 4",
  auto: "M8 2.500a5.5 5.5 0 100 11zM8 2.500a5.5 5.5 0 010 11",
  light: "M8 5.500a2.5 2.5 0 100 5 2.5 2.5 0 000-5zM8 1.500v1.500M8 13v1.500M1.5 8H3M13 8h1.500M3.4 3.400l1 1M11.6 11.600l1 1M12.6 3.400l-1 1M4.4 11.600l-1 1",
  dark: "M13 9.500A5.5 5.5 0 016.5 3a5.5 5.5 0 106.5 6.500z",
  key: "M10.5 2.500a3 3 0 11-2.7 4.300L2.5 12v1.500H5V12h1.500v-1.500H8l1-1",
  link: "M6.5 9.500l3-3M7 4.500l1-1a2.5 2.5 0 013.5 3.500l-1 1M9 11.500l-1 1A2.5 2.5 0 014.5 9l1-1",
  expand: "M4 6l4-3.500L12 6M4 10l4 3.500L12 10",
  collapse: "M4 2.500L8 6l4-3.500M4 13.500L8 10l4 3.5",
  compare: "M2.5 4h4v8h-4zM9.5 4h4v8h-4zM8 2v12",
  history: "M3 4v3h3M3.2 7a5 5 0 111 4.500M8 5.500V8l2 1.5",
};

const KNOWN_TYPES = new Set(["chain", "llm", "tool", "retriever", "prompt", "parser", "embedding"]);

/** An icon. It is hidden from readers of the screen unless it has a label. */
export function Icon({ name, label = null, size = 16, class: className = "" }) {
  const role = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return html`<svg class="icon ${className}" width=${size} height=${size} viewBox="0 0 16 16" ...${role}>
    <path d=${SHAPES[name] ?? SHAPES.other} fill="none" stroke="currentColor" stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round" />
  </svg>`;
}

/** The class of a run's type: one that has a colour of its own. */
export function typeName(runType) {
  return KNOWN_TYPES.has(runType) ? runType : "other";
}

export function TypeIcon({ type, isMissing = false }) {
  const name = isMissing ? "missing" : typeName(type);
  return html`<span class="type type-${name}" title=${isMissing ? "missing" : type || "no type"}><${Icon} name=${name} size=${14} /></span>`;
}

export const STATUS_WORDS = { completed: "Completed", failed: "Failed", running: "Running" };

const UNENDED_MS = 3_600_000;

/** A status. What began at `since` and has not ended for hours as of `now` may never: its client may be gone. */
export function StatusIcon({ status, isQuiet = false, since = null, now = Date.now() }) {
  const isUnended = status === "running" && since !== null && now - since > UNENDED_MS;
  const words = isUnended ? "Running, without an end for more than an hour" : STATUS_WORDS[status] ?? status;
  return html`<span class="status status-${isUnended ? "unended" : status}" title=${words}><${Icon} name=${isUnended ? "unended" : status} label=${isQuiet ? null : words} /></span>`;
}
