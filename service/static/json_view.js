// Raw JSON: folded, searched, copied. However large the value, the document holds what was unfolded of it.

import { ExactNumber } from "./api.js";
import { brief } from "./brief.js";
import { CopyButton } from "./copying.js";
import { Icon } from "./icons.js";
import { PlainText } from "./long_text.js";
import { bytes, count } from "./numbers.js";
import { classes, html, useEffect, useMemo, useRef, useState } from "./view.js";

const OPEN_LEVELS = 2;
const OPEN_CHILDREN_MAX = 40;
const CHILDREN_AT_ONCE = 100;
const STRING_CHARS = 300;
const MATCHES_MAX = 1000;
const SEPARATOR = "\u0000";

export function JsonView({ value, label }) {
  const [open, setOpen] = useState(new Map());
  const [limits, setLimits] = useState(new Map());
  const [words, setWords] = useState("");
  const [at, setAt] = useState(0);
  const box = useRef();
  const found = useMemo(() => search(value, words), [value, words]);
  const current = found[at] ?? null;

  useEffect(() => setAt(0), [words]);
  useEffect(() => {
    if (!current) return;
    setOpen((old) => reaching(old, current.path));
    setLimits((old) => widened(old, current));
  }, [current]);
  useEffect(() => {
    box.current.querySelector(".json-line.is-current")?.scrollIntoView({ block: "nearest" });
  }, [current, open, limits]);

  const state = {
    words: words.trim().toLowerCase(),
    current: current?.path.join(SEPARATOR) ?? null,
    isOpen: (path, size) => open.get(path.join(SEPARATOR)) ?? (path.length < OPEN_LEVELS && size <= OPEN_CHILDREN_MAX),
    limit: (path) => limits.get(path.join(SEPARATOR)) ?? CHILDREN_AT_ONCE,
    toggle: (path, isOpen) => setOpen(new Map(open).set(path.join(SEPARATOR), !isOpen)),
    more: (path, limit) => setLimits(new Map(limits).set(path.join(SEPARATOR), limit + CHILDREN_AT_ONCE)),
  };
  const press = (event) => {
    if (event.key === "Enter" && found.length) setAt((at + (event.shiftKey ? found.length - 1 : 1)) % found.length);
    if (event.key === "Escape") event.target.blur();
  };
  return html`<div class="json" ref=${box}>
    <div class="json-tools">
      <label class="search"><${Icon} name="search" size=${14} /><span class="unseen">Search in ${label}</span>
        <input type="search" placeholder="Search" value=${words} onInput=${(event) => setWords(event.target.value)} onKeyDown=${press} spellcheck=${false} />
        ${words.trim() ? html`<span class="found" role="status">${found.length ? `${at + 1} of ${found.length}${found.length === MATCHES_MAX ? "+" : ""}` : "none"}</span>` : null}</label>
      <${CopyButton} text=${() => JSON.stringify(value, null, 2)} label=${`Copy ${label} as JSON`} words="Copy" />
    </div>
    <div class="json-lines" tabindex="0" role="group" aria-label=${`${label} as JSON`}><${JsonNode} name=${null} value=${value} path=${[]} state=${state} /></div>
  </div>`;
}

function JsonNode({ name, value, path, state }) {
  const key = path.join(SEPARATOR);
  const isCurrent = path.length > 0 && key === state.current;
  const label = name === null ? null : html`<span class="json-key">${marked(brief(name), state.words)}</span>`;
  if (!isBranch(value)) {
    return html`<div class=${classes("json-line", isCurrent && "is-current")}>${label}<${Leaf} value=${value} words=${state.words} /></div>`;
  }
  const entries = Array.isArray(value) ? value : Object.keys(value);
  const size = entries.length;
  const isOpen = size > 0 && state.isOpen(path, size);
  const kind = Array.isArray(value) ? "[]" : "{}";
  const noun = Array.isArray(value) ? "item" : "key";
  const limit = state.limit(path);
  const names = Array.isArray(value) ? Array.from({ length: Math.min(size, limit) }, (_, i) => i) : entries.slice(0, limit);
  return html`<div class="json-branch">
    <div class=${classes("json-line", isCurrent && "is-current")}>
      <button type="button" class="json-fold" aria-expanded=${isOpen} disabled=${!size} onClick=${() => state.toggle(path, isOpen)}>
        <${Icon} name="chevron" size=${11} />${label}<span class="json-size">${size ? `${kind[0]} ${count(size)} ${noun}${size === 1 ? "" : "s"} ${kind[1]}` : kind}</span></button>
      ${size ? html`<${CopyButton} text=${() => JSON.stringify(value, null, 2)} label=${`Copy ${brief(name ?? "all")}`} />` : null}
    </div>
    ${isOpen ? html`<div class="json-children">
      ${names.map((child) => html`<${JsonNode} key=${child} name=${child} value=${value[child]} path=${[...path, child]} state=${state} />`)}
      ${size > limit ? html`<button type="button" class="quiet json-more" onClick=${() => state.more(path, limit)}>${count(size - limit)} more</button>` : null}
    </div>` : null}
  </div>`;
}

function Leaf({ value, words }) {
  const [isWhole, setWhole] = useState(false);
  if (typeof value !== "string") return html`<span class="json-${value === null ? "null" : value instanceof ExactNumber ? "number" : typeof value}">${marked(String(value), words)}</span>`;
  if (value.length <= STRING_CHARS) return html`<span class="json-string">${marked(value, words)}</span>`;
  if (isWhole) return html`<span class="json-string"><${PlainText} text=${value} /></span>`;
  return html`<span class="json-string">${marked(excerpt(value, words), words)}… <button type="button" class="quiet" onClick=${() => setWhole(true)}>${bytes(value.length)}</button></span>`;
}

/** A piece of a long text: about the first match, else its beginning. */
function excerpt(text, words) {
  const at = words ? text.toLowerCase().indexOf(words) : -1;
  return at > STRING_CHARS / 2 ? `…${text.slice(at - 60, at + STRING_CHARS - 60)}` : text.slice(0, STRING_CHARS);
}

function marked(text, words) {
  const at = words ? text.toLowerCase().indexOf(words) : -1;
  if (at === -1) return text;
  return [text.slice(0, at), html`<mark>${text.slice(at, at + words.length)}</mark>`, text.slice(at + words.length)];
}

function isBranch(value) {
  return typeof value === "object" && value !== null && !(value instanceof ExactNumber);
}

/** The places whose key or value holds the words, in their order: the path to each and its index among its siblings. */
function search(value, words) {
  const wanted = words.trim().toLowerCase();
  const found = [];
  if (!wanted) return found;
  const waiting = [{ value, path: [], places: [] }];
  while (waiting.length && found.length < MATCHES_MAX) {
    const at = waiting.pop();
    const name = at.path.at(-1);
    if (typeof name === "string" && name.toLowerCase().includes(wanted)) found.push(at);
    else if (!isBranch(at.value) && at.path.length && String(at.value).toLowerCase().includes(wanted)) found.push(at);
    if (!isBranch(at.value)) continue;
    const names = Array.isArray(at.value) ? [...at.value.keys()] : Object.keys(at.value);
    for (let i = names.length - 1; i >= 0; i -= 1) {
      waiting.push({ value: at.value[names[i]], path: [...at.path, names[i]], places: [...at.places, i] });
    }
  }
  return found;
}

/** What is open, with all that lies above a path. */
function reaching(open, path) {
  const next = new Map(open);
  for (let i = 0; i < path.length; i += 1) next.set(path.slice(0, i).join(SEPARATOR), true);
  return next;
}

function widened(limits, { path, places }) {
  const next = new Map(limits);
  places.forEach((place, i) => {
    const above = path.slice(0, i).join(SEPARATOR);
    const limit = next.get(above) ?? CHILDREN_AT_ONCE;
    if (place >= limit) next.set(above, Math.ceil((place + 1) / CHILDREN_AT_ONCE) * CHILDREN_AT_ONCE);
  });
  return next;
}
