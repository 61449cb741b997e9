// The run that is looked at: what went in and came out, and everything else that is known of it.

import { local } from "./api.js";
import { brief, briefList } from "./brief.js";
import { choice, CompareButton } from "./choosing.js";
import { CopyButton } from "./copying.js";
import { Problem } from "./frame.js";
import { History } from "./history.js";
import { STATUS_WORDS, StatusIcon, TypeIcon } from "./icons.js";
import { JsonView } from "./json_view.js";
import { useKeys } from "./keyboard.js";
import { PlainText } from "./long_text.js";
import { bytes, count, counted, dollars } from "./numbers.js";
import { place } from "./place.js";
import { asPython } from "./python.js";
import { ago, duration, exactTime, time } from "./times.js";
import { isEmpty, Picture, Value, ValueSection } from "./values.js";
import { html, useEffect, useState } from "./view.js";

const TAGS_MAX = 100;
const TABS = { run: "Run", history: "History", raw: "Raw" };
// What was shared is the trace as it is, not who wrote it.
const SHARED_TABS = { run: "Run", raw: "Raw" };

export function RunPanel({ runId, step, news, store }) {
  const { isShared } = store.source;
  const tabs = isShared ? SHARED_TABS : TABS;
  const tab = tabs[place.parameters.get("tab")] ? place.parameters.get("tab") : "run";
  const version = isShared ? null : Number(place.parameters.get("version")) || null;
  const [run, error, retry] = useRun(store, step?.isMissing ? null : runId, version, news);
  const name = brief(run?.name || step?.name || "");
  useKeys([{ keys: ["c"], words: "compare with another run", run: () => run && !isShared && choice.take(run) }]);
  return html`<div class="run">
    <header class="run-head">
      <div class="run-title"><${TypeIcon} type=${run?.run_type ?? step?.type} isMissing=${step?.isMissing} /><h2>${step?.isMissing ? "A run that never came" : name || "(no name)"}</h2></div>
      <div class="run-tools">
        <${CopyButton} text=${runId} label="Copy the run's id" words="Id" />
        ${run && !isShared ? html`<${CompareButton} run=${run} />` : null}
        ${run && !isShared ? html`<${CopyButton} text=${() => asPython(run)} label="Copy as Python: the lines that read this run and its inputs" words="Python" />` : null}
      </div>
    </header>
    <${Tabs} tabs=${tabs} tab=${tab} runId=${runId} />
    <div class="tab" role="tabpanel" id="tabpanel" aria-label=${tabs[tab]} tabindex="0">
      ${tab === "history" ? html`<${History} runId=${runId} version=${version} news=${news} store=${store} run=${run} />` : null}
      ${step?.isMissing ? html`<p class="note">Other runs name this one as their parent, but nothing was ever received of it itself. It may still come.</p>` : null}
      ${error ? html`<${RunProblem} error=${error} retry=${retry} />` : null}
      ${!run && !error && !step?.isMissing ? html`<p class="loading" role="status">Reading the run…</p>` : null}
      ${run && tab !== "raw" ? html`<${RunBody} run=${run} store=${store} />` : null}
      ${run && tab === "raw" ? html`<${JsonView} value=${run} label="the run" />` : null}
    </div>
  </div>`;
}

function useRun(store, runId, version, news) {
  const [state, setState] = useState([null, null]);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    if (!runId) return undefined;
    let isOld = false;
    store.run(runId, version).then(
      (run) => isOld || setState([run, null]),
      (error) => isOld || setState([null, error]),
    );
    return () => { isOld = true; };
  }, [runId, version, news, attempt]);
  return [...state, () => setAttempt(attempt + 1)];
}

function RunProblem({ error, retry }) {
  if (error.status !== 404) return html`<${Problem} error=${error} retry=${retry} />`;
  return html`<p class="note">There is no such run${place.parameters.get("version") ? " as of this version" : ""}.</p>`;
}

function Tabs({ tabs, tab, runId }) {
  const names = Object.keys(tabs);
  const show = (name) => place.set({ tab: name === "run" ? null : name, version: null, run: runId }, { replace: true });
  const press = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    const next = names[(names.indexOf(tab) + by + names.length) % names.length];
    show(next);
    event.currentTarget.querySelector(`[data-tab=${next}]`).focus();
  };
  return html`<div class="tabs" role="tablist" aria-label="Views of the run" onKeyDown=${press}>${names.map(
    (name) => html`<button type="button" role="tab" key=${name} data-tab=${name} aria-selected=${name === tab} aria-controls="tabpanel" tabindex=${name === tab ? 0 : -1} onClick=${() => show(name)}>${tabs[name]}</button>`,
  )}</div>`;
}

function RunBody({ run, store }) {
  const { source, asOf } = store;
  const places = run.offloaded ?? {};
  return html`<${Facts} run=${run} now=${asOf?.at ?? Date.now()} />
    ${run.error || places.error ? html`<${Failure} text=${run.error || places.error.preview} />` : null}
    <${ValueSection} title="Inputs" value=${run.inputs} place=${places.inputs ?? null} />
    <${ValueSection} title="Outputs" value=${run.outputs} place=${places.outputs ?? null} />
    <${Attachments} run=${run} />
    <${Feedback} source=${source} runId=${run.id} version=${run.version} />
    <${OwnEvents} run=${run} />
    <${Metadata} run=${run} />`;
}

function Facts({ run, now }) {
  const [start, end] = [time(run.start_time), time(run.end_time)];
  const first = time(run.first_token_time);
  const tokens = run.total_tokens === null ? null : run.prompt_tokens === null ? count(run.total_tokens) : `${count(run.prompt_tokens)} in + ${count(run.completion_tokens)} out`;
  const facts = [
    ["Status", html`<span class=${`with-icon words-${run.status}`}><${StatusIcon} status=${run.status} isQuiet=${true} since=${start} now=${now} />${STATUS_WORDS[run.status] ?? run.status}</span>`],
    ["Latency", end === null ? null : duration(end - start)],
    ["First token", first === null ? null : `after ${duration(first - start)}`],
    ["Model", run.model && brief([run.provider, run.model].filter(Boolean).join(" / "))],
    ["Tokens", tokens],
    ["Cost", run.total_cost === null ? null : html`<span title=${`$${run.total_cost}`}>${dollars(run.total_cost)}</span>`],
    ["Started", html`<time datetime=${run.start_time} title=${ago(start, Date.now())}>${exactTime(start)}</time>`],
    ["Thread", run.thread_id && brief(run.thread_id)],
  ];
  return html`<dl class="facts">${facts.filter(([, value]) => value).map(([words, value]) => html`<div key=${words}><dt>${words}</dt><dd>${value}</dd></div>`)}</dl>
    ${run.tags.length ? html`<p class="tags" aria-label="Tags">${run.tags.slice(0, TAGS_MAX).map((tag) => html`<span class="tag">${brief(tag)}</span>`)}</p>` : null}`;
}

const TRACEBACK = /\n?\s*Traceback \(most recent call last\):/;

/** An error: the sentence first, where it came from below it. */
export function Failure({ text }) {
  const at = text.search(TRACEBACK);
  const [sentence, trace] = at === -1 ? cut(text) : [text.slice(0, at), text.slice(at)];
  const last = trace.trimEnd().split("\n").at(-1);
  return html`<section class="section error" aria-label="Error">
    <header class="section-head"><h3>Error</h3><${CopyButton} text=${text} label="Copy the error" /></header>
    <${PlainText} text=${sentence.trim() || last} class="error-sentence" />
    ${trace.trim() ? html`<details open=${trace.length < 3000}><summary>Traceback</summary><${Traceback} text=${trace.trim()} /></details>` : null}
  </section>`;
}

/** The first line, and the rest if there is one: JavaScript's stacks begin so. */
function cut(text) {
  const at = text.search(/\n\s+at /);
  return at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

const OTHERS_CODE = /(site-packages|dist-packages|node_modules|node:internal|lib\/python3)/;

/** A traceback in which the lines of libraries stand back. */
function Traceback({ text }) {
  if (text.length > 20_000) return html`<${PlainText} text=${text} />`;
  let isTheirs = false;
  return html`<pre class="text traceback" tabindex="0">${text.split("\n").map((line) => {
    if (/^\s*(File "|at )/.test(line)) isTheirs = OTHERS_CODE.test(line);
    else if (/^\S/.test(line)) isTheirs = false;
    return html`<span class=${isTheirs ? "theirs" : ""}>${`${line}\n`}</span>`;
  })}</pre>`;
}

function Attachments({ run }) {
  const items = Object.entries(run.s3_urls ?? {});
  if (!items.length) return null;
  return html`<section class="section" aria-label="Attachments"><header class="section-head"><h3>Attachments</h3></header>
    <ul class="attachments">${items.map(([key, item]) => {
      const name = key.replace(/^attachment\./, "");
      const address = local(item.presigned_url);
      return html`<li key=${key}>${/^image\//.test(item.mime_type) ? html`<${Picture} source=${address} words=${`Attachment ${brief(name)}`} />` : null}
        <p><a href=${address} download=${name}>${brief(name)}</a> <span>${brief(item.mime_type)}, ${bytes(item.size)}</span></p></li>`;
    })}</ul></section>`;
}

function Feedback({ source, runId, version }) {
  const [items, setItems] = useState([]);
  useEffect(() => {
    source.feedback(runId).then(setItems, () => setItems([]));
  }, [runId, version]);
  if (!items.length) return null;
  return html`<section class="section" aria-label="Feedback"><header class="section-head"><h3>Feedback</h3></header>
    <ul class="feedback">${items.map((item) => html`<li key=${item.id}><b>${brief(item.key)}</b>
      ${item.score === null || item.score === undefined ? null : html`<span class="score">${brief(item.score)}</span>`}
      ${isEmpty(item.value) ? null : html`<${Value} value=${item.value} level=${2} />`}
      ${item.comment ? html`<${PlainText} text=${String(item.comment)} class="prose" />` : null}
      <small>${brief(item.feedback_source?.type ?? "")} <time title=${item.created_at}>${ago(time(item.created_at), Date.now())}</time></small></li>`)}</ul></section>`;
}

/** The run's own events: tokens counted together, others one by one, each by the time since the start. */
function OwnEvents({ run }) {
  if (!Array.isArray(run.events) || !run.events.length) return null;
  const start = time(run.start_time);
  const [tokens, others] = [run.events.filter(isToken), run.events.filter((event) => !isToken(event))];
  const after = (event) => duration(time(event?.time) - start);
  return html`<section class="section" aria-label="Events"><header class="section-head"><h3>Events</h3></header>
    <ol class="own-events">
      ${tokens.length ? html`<li><b>new_token</b> ${counted(tokens.length, "token")}, the first after ${after(tokens[0])}, the last after ${after(tokens.at(-1))}</li>` : null}
      ${others.slice(0, 100).map((event, i) => html`<li key=${i}><b>${brief(event?.name ?? "event")}</b> ${time(event?.time) === null ? null : html`after ${after(event)}`}
        ${isEmpty(event?.kwargs) ? null : html`<details><summary>details</summary><${JsonView} value=${event.kwargs} label="the event" /></details>`}</li>`)}
    </ol></section>`;
}

function isToken(event) {
  return event?.name === "new_token";
}

function Metadata({ run }) {
  const { metadata = {}, ...others } = run.extra ?? {};
  if (isEmpty(metadata) && isEmpty(others) && isEmpty(run.serialized)) return null;
  const all = { ...others, ...(isEmpty(run.serialized) ? {} : { serialized: run.serialized }) };
  return html`<section class="section" aria-label="Metadata"><header class="section-head"><h3>Metadata</h3></header>
    ${isEmpty(metadata) ? null : html`<dl class="pairs">${Object.entries(metadata).map(([name, value]) => html`<div key=${name}><dt>${brief(name)}</dt><dd>${isFlat(value) ? html`<${PlainText} text=${String(value)} class="prose" />` : html`<${JsonView} value=${value} label=${brief(name)} />`}</dd></div>`)}</dl>`}
    ${isEmpty(all) ? null : html`<details><summary>${briefList(Object.keys(all))}</summary><${JsonView} value=${all} label="the rest" /></details>`}
  </section>`;
}

function isFlat(value) {
  return value === null || typeof value !== "object";
}
