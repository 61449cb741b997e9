// What is around every page: the bar at the top, the sheet of keys, and the question for an API key.

import { key } from "./api.js";
import { ChosenNote } from "./choosing.js";
import { Icon } from "./icons.js";
import { keyboard, useKeys } from "./keyboard.js";
import { place } from "./place.js";
import { nextTheme, remembered, theme } from "./remembered.js";
import { exactTime, isUtc } from "./times.js";
import { html, useEffect, useRef, useState, useStore } from "./view.js";

const PAGES = [
  ["/", "Traces"],
  ["/ui/overview", "Overview"],
  ["/ui/operations", "Operations"],
];
const PAGE_KEYS = [
  { keys: ["1"], words: "traces", run: () => place.go(homeHref()) },
  { keys: ["2"], words: "overview", run: () => place.go("/ui/overview") },
  { keys: ["3"], words: "operations", run: () => place.go("/ui/operations") },
];
const THEME_WORDS = { auto: "System theme", light: "Light theme", dark: "Dark theme" };

export function Frame({ children }) {
  const [isHelpOpen, setHelpOpen] = useState(false);
  useStore(remembered);
  useStore(key);
  useStore(place);
  // Who was given a link to one trace has no way to the others.
  const isShared = /\/public\/[^/]+\/r$/.test(place.path);
  useKeys([
    { keys: ["?"], words: "these keys", run: () => setHelpOpen(true) },
    ...(isShared ? [] : PAGE_KEYS),
    { keys: ["t"], words: "another theme", run: nextTheme },
    { keys: ["u"], words: "times in UTC or in your zone", run: switchZone },
  ], { isEverywhere: true });
  return html`<div class="frame">
    <a class="skip" href="#main">Skip to the page</a>
    <header class="bar">
      <a class="brand" href=${homeHref()} aria-label=${applicationName()}><${Mark} /><span>${applicationName()}</span></a>
      ${isShared ? html`<span class="shared-note">A shared trace, read-only</span>` : html`<nav aria-label="Pages">${PAGES.map(([href, words]) => html`<${PageLink} href=${href} words=${words} />`)}</nav>`}
      <div class="bar-tools">
        <button type="button" class="quiet" onClick=${switchZone} aria-pressed=${isUtc()} title="Show times in UTC or in your zone (u)">${isUtc() ? "UTC" : "Local"}</button>
        <button type="button" class="quiet" onClick=${nextTheme} aria-label=${`${THEME_WORDS[theme()]}: change`} title=${`${THEME_WORDS[theme()]} (t)`}><${Icon} name=${theme()} /></button>
        <button type="button" class="quiet" onClick=${() => setHelpOpen(true)} aria-label="Keys" title="Keys (?)">?</button>
      </div>
    </header>
    <${PrintedNote} />
    ${isShared ? null : html`<${ChosenNote} />`}
    <main id="main" tabindex="-1">${children}</main>
    ${isHelpOpen ? html`<${HelpSheet} close=${() => setHelpOpen(false)} />` : null}
    ${key.asking ? html`<${KeyQuestion} />` : null}
  </div>`;
}

/** On paper alone: from when on what is said to be some time ago was that long ago. */
function PrintedNote() {
  const [at, setAt] = useState(null);
  useEffect(() => {
    const note = () => setAt(Date.now());
    addEventListener("beforeprint", note);
    return () => removeEventListener("beforeprint", note);
  }, []);
  return at && html`<p class="printed">${applicationName()}, ${location.href}, printed ${exactTime(at)}</p>`;
}

function Mark() {
  return html`<svg class="mark" width="20" height="20" viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="8" />
    <path d="M7 9h13M11 16h14M15 23h6" /><circle cx="24.5" cy="23" r="2.6" />
  </svg>`;
}

function PageLink({ href, words }) {
  const isCurrent = href === "/" ? place.path === "/" || place.path.startsWith("/ui/traces") : place.path === href;
  return html`<a href=${href === "/" ? homeHref() : href} aria-current=${isCurrent ? "page" : null}>${words}</a>`;
}

/** The list of traces, with the filters that were last in use. */
export function homeHref() {
  return `/${remembered.get("filters", "")}`;
}

function applicationName() {
  return document.querySelector('meta[name="application-name"]').content;
}

function switchZone() {
  remembered.set("utc", !isUtc());
}

/** A dialog over the page. Escape and a click beside it close it, if it can be closed. */
export function Dialog({ title, close = null, children }) {
  const dialog = useRef();
  useEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => before?.focus?.();
  }, []);
  useKeys([{ keys: ["Escape"], words: "close", run: () => close?.() }], { isModal: true });
  const cancel = (event) => {
    event.preventDefault();
    close?.();
  };
  const click = (event) => event.target === dialog.current && close?.();
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onCancel=${cancel} onClick=${click}>
    <div class="dialog-body">
      <h2 id="dialog-title">${title}</h2>
      ${close ? html`<button type="button" class="quiet dialog-close" onClick=${close} aria-label="Close"><${Icon} name="close" /></button>` : null}
      ${children}
    </div>
  </dialog>`;
}

const KEY_WORDS = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc", " ": "Space" };

function HelpSheet({ close }) {
  // Those of the page beneath, before the dialog has its own.
  const [groups] = useState(() => [["On this page", keyboard.bindings({ isEverywhere: false })], ["Everywhere", keyboard.bindings({ isEverywhere: true })]]);
  return html`<${Dialog} title="Keys" close=${close}>${groups.map(([title, bindings]) => bindings.length ? html`
    <h3 class="keys-head">${title}</h3><dl class="keys">${bindings.map(
      ([keys, words]) => html`<div><dt>${keys.map((one) => html`<kbd>${KEY_WORDS[one] ?? one}</kbd>`)}</dt><dd>${words}</dd></div>`,
    )}</dl>` : null)}
  <//>`;
}

function KeyQuestion() {
  const field = useRef();
  const { reason } = key.asking;
  useEffect(() => field.current.focus(), [reason]);
  const submit = (event) => {
    event.preventDefault();
    const value = field.current.value.trim();
    if (value) key.give(value);
  };
  return html`<${Dialog} title="An API key is needed">
    <form onSubmit=${submit}>
      <p>This server shows traces to those who have one of its keys. It is kept for this tab only.</p>
      <label class="field"><span>API key</span><input ref=${field} type="password" autocomplete="off" spellcheck=${false} aria-describedby="key-reason" aria-invalid=${reason !== null} /></label>
      <p id="key-reason" class="error-words" role="alert">${reason}</p>
      <button type="submit" class="primary">Continue</button>
    </form>
  <//>`;
}

/** What went wrong, and a way to try again. */
export function Problem({ error, retry = null }) {
  return html`<div class="problem" role="alert">
    <${Icon} name="failed" />
    <p>${error.message}${error.requestId ? html` <small>Request ${error.requestId}</small>` : null}</p>
    ${retry ? html`<button type="button" onClick=${retry}>Try again</button>` : null}
  </div>`;
}

const LIVE_WORDS = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", paused: "Paused" };

/** Whether the page follows the log, and a way to pause that. */
export function LiveSwitch({ stream }) {
  useStore(stream);
  const press = () => (stream.isPaused ? stream.resume() : stream.pause());
  useKeys([{ keys: ["p"], words: "pause or follow what comes in", run: press }]);
  return html`<button type="button" class="live live-${stream.state}" onClick=${press} aria-pressed=${!stream.isPaused} title=${stream.isPaused ? "Follow what comes in (p)" : "Pause (p)"}>
    <span class="live-dot" aria-hidden="true"></span><span aria-live="polite">${LIVE_WORDS[stream.state]}</span>
  </button>`;
}
