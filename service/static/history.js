// The history of a run: who sent what and when, what it changed, and the run and its tree as of any version.

import { get } from "./api.js";
import { brief, briefList } from "./brief.js";
import { Problem } from "./frame.js";
import { Difference } from "./diff_view.js";
import { Icon } from "./icons.js";
import { count, counted } from "./numbers.js";
import { place } from "./place.js";
import { ago, duration, exactTime, time } from "./times.js";
import { classes, html, useEffect, useState } from "./view.js";

const PAGE = 200;
const LEFT_MAX = 40;
const KINDS = { RunPosted: "Posted", RunPatched: "Patched", AttachmentStored: "Attachment", RunReverted: "Reverted" };
const CAUSES = {
  null: "null says nothing",
  same: "it had that value already",
  empty: "an empty value never replaces one that is not",
  outranked: "a patch's word stands against a post's",
  unreadable: "it is not what this field takes",
};

/** The history of a run. `isAlone` where it stands for a run that is not shown, because it was erased or never was. */
export function History({ runId, version, news, store, isAlone = false }) {
  const [told, error, retry] = useMutations(runId, news);
  const mutations = told?.mutations ?? [];
  const newest = told?.version ?? 0;
  const shown = version && version < newest ? version : null;
  useTreeAsOf(store, mutations, shown);
  if (error) return error.status === 404 && isAlone ? null : html`<${Problem} error=${error} retry=${retry} />`;
  if (!told) return html`<p class="loading" role="status">Reading the history…</p>`;
  const { erasure } = told;
  const look = (wanted) => place.set({ run: runId, tab: "history", version: wanted >= newest ? null : wanted }, { replace: true });
  return html`<div class="history">
    <div class="history-head"><p>${counted(newest, "version")}</p><${ChainBadge} runId=${runId} newest=${newest} /></div>
    ${newest > 1 && !erasure ? html`<${Slider} newest=${newest} shown=${shown ?? newest} look=${look} mutations=${mutations} />` : null}
    <ol class="mutations">${mutations.map((mutation) => html`<${Mutation} key=${mutation.version} mutation=${mutation} before=${mutations[mutation.version - 2]} isShown=${mutation.version === (shown ?? newest)} isAhead=${shown !== null && mutation.version > shown} look=${erasure ? null : look} />`)}${erasure ? html`<${Erasure} erasure=${erasure} />` : null}</ol>
    ${newest > 2 && !erasure ? html`<${Compare} runId=${runId} newest=${newest} />` : null}
    ${erasure ? null : html`<h3 class="as-of-title">${shown ? `The run as of version ${shown}` : "The run as it is now"}</h3>`}
  </div>`;
}

function useMutations(runId, news) {
  const [state, setState] = useState([null, null]);
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let isOld = false;
    readAll(runId).then((told) => isOld || setState([told, null]), (error) => isOld || setState([null, error]));
    return () => { isOld = true; };
  }, [runId, news, attempt]);
  return [...state, () => setAttempt(attempt + 1)];
}

async function readAll(runId) {
  const told = await get(`/runs/${runId}/events`, { limit: PAGE });
  for (let after = told.next_after; after !== null && told.mutations.length < 5 * PAGE; ) {
    const more = await get(`/runs/${runId}/events`, { limit: PAGE, after });
    told.mutations.push(...more.mutations);
    after = more.next_after;
  }
  return told;
}

/** Has the tree follow the version that is looked at, and go back to now afterwards. */
function useTreeAsOf(store, mutations, shown) {
  const mutation = shown === null ? null : mutations.find((one) => one.version === shown) ?? null;
  useEffect(() => {
    if (store.asOf?.position !== mutation?.position) store.read(mutation && { position: mutation.position, at: time(mutation.recorded_at) });
  }, [mutation?.position]);
  useEffect(() => () => { if (store.asOf !== null) store.read(null); }, []);
}

function ChainBadge({ runId, newest }) {
  const [state, setState] = useState(null);
  useEffect(() => {
    let isOld = false;
    get(`/runs/${runId}/chain`).then((found) => isOld || setState(found), (error) => isOld || setState({ error }));
    return () => { isOld = true; };
  }, [runId, newest]);
  if (!state) return html`<span class="chain-badge">Checking the chain…</span>`;
  if (state.error) return html`<span class="chain-badge is-unknown" title=${state.error.message}>Chain not checked</span>`;
  if (!state.is_sound) {
    const words = state.findings.map((finding) => `version ${finding.version}: ${finding.wrong}`).join("; ");
    return html`<span class="chain-badge is-broken" role="alert"><${Icon} name="failed" size=${14} />Chain broken: ${words}</span>`;
  }
  const title = "Payloads, receipts and links of these events match the log's hashes. agent-spy verify checks the whole log.";
  return html`<span class="chain-badge is-sound" title=${title}><${Icon} name="completed" size=${14} />Chain verified</span>`;
}

function Slider({ newest, shown, look, mutations }) {
  const at = mutations[shown - 1];
  return html`<label class="slider"><span>Version</span>
    <input type="range" min="1" max=${newest} step="1" value=${shown} aria-label="Version" aria-valuetext=${`Version ${shown} of ${newest}`} onInput=${(event) => look(Number(event.target.value))} />
    <output>${shown} of ${newest}${at ? html` <small>${exactTime(time(at.recorded_at))}</small>` : null}</output></label>`;
}

function Mutation({ mutation, before, isShown, isAhead, look }) {
  const recorded = time(mutation.recorded_at);
  const said = mutation.fields.filter((field) => field.effect !== "left");
  const left = mutation.fields.filter((field) => field.effect === "left");
  const since = before ? `${duration(recorded - time(before.recorded_at))} later` : ago(recorded, Date.now());
  return html`<li class=${classes("mutation", isShown && "is-shown", isAhead && "is-ahead")}>
    <header>${look ? html`<button type="button" class="quiet version" aria-pressed=${isShown} onClick=${() => look(mutation.version)} title="Show the run and its tree as of this version">${mutation.version}</button>` : html`<span class="version">${mutation.version}</span>`}
      <b>${KINDS[mutation.kind] ?? mutation.kind}</b><time title=${exactTime(recorded)}>${since}</time><span class="position" title="Its place in the log">#${count(mutation.position)}</span></header>
    <${Origin} origin=${mutation.origin} />
    ${mutation.revert ? html`<p>Went back to version ${mutation.revert.to_version}: ${brief(mutation.revert.reason)}</p>` : null}
    ${mutation.content === "recorded" ? null : html`<p class="nothing">${mutation.content === "erased" ? "What it said was erased." : "A newer version of the program wrote this."}</p>`}
    ${said.length ? html`<details open=${mutation.version > 1 || said.length < 4}><summary>${changes(said)}</summary><ul class="changes">${said.map((field) => html`<${FieldChange} key=${field.field} field=${field} />`)}</ul></details>` : null}
    ${left.length ? html`<p class="left" title=${left.slice(0, LEFT_MAX).map((field) => `${brief(field.field)}: ${CAUSES[field.cause] ?? ""}`).join("\n")}>${counted(left.length, "field")} said and left as ${left.length === 1 ? "it was" : "they were"}: ${briefList(left.map((field) => field.field))}</p>` : null}
    ${mutation.duplicates.count ? html`<p class="left">Came again ${counted(mutation.duplicates.count, "time")}, which changed nothing.</p>` : null}
  </li>`;
}

/** What ended it: the trace was erased, and this run with it. */
function Erasure({ erasure }) {
  const recorded = time(erasure.recorded_at);
  return html`<li class="mutation is-erasure"><header><span class="version"><${Icon} name="close" size=${14} /></span><b>Erased with its trace</b><time title=${exactTime(recorded)}>${ago(recorded, Date.now())}</time><span class="position" title="Its place in the log">#${count(erasure.position)}</span></header>
    <${Origin} origin=${erasure.origin} />
    <p>${brief(erasure.reason)}</p></li>`;
}

function changes(fields) {
  const counts = {};
  for (const field of fields) counts[field.effect] = (counts[field.effect] ?? 0) + 1;
  return Object.entries(counts).map(([effect, n]) => `${n} ${effect}`).join(", ");
}

function Origin({ origin }) {
  if (!origin) return null;
  const client = origin.sdk ? `${origin.sdk} ${origin.sdk_version ?? ""}` : origin.user_agent ?? "unknown client";
  return html`<p class="origin">${client}${origin.key_id ? html`, key <code>${origin.key_id}</code>` : null}, from ${origin.remote_address ?? "?"}, ${origin.endpoint}, <span title=${`Request ${origin.request_id}`}>receipt ${count(origin.receipt_id)}</span></p>`;
}

export function FieldChange({ field }) {
  return html`<li class=${`change is-${field.effect}`}><div class="change-head"><code>${brief(field.field)}</code><span class="effect">${field.effect}</span></div>
    <${Difference} before=${field.before} after=${field.after} /></li>`;
}

function Compare({ runId, newest }) {
  const [[from, to], setVersions] = useState([1, newest]);
  const [found, setFound] = useState(null);
  const compare = () => get(`/runs/${runId}/diff`, { from, to }).then(setFound, (error) => setFound({ error }));
  const versions = Array.from({ length: newest + 1 }, (_, i) => i);
  const field = (label, value, change) => html`<label>${label} <select value=${value} onChange=${(event) => change(Number(event.target.value))}>${versions.map((one) => html`<option key=${one} value=${one} selected=${one === value}>${one === 0 ? "nothing" : one}</option>`)}</select></label>`;
  return html`<section class="compare" aria-label="Compare versions">
    <div class="compare-tools"><h3>Compare</h3>${field("from", from, (value) => setVersions([value, to]))}${field("to", to, (value) => setVersions([from, value]))}<button type="button" onClick=${compare}>Compare</button></div>
    ${found?.error ? html`<${Problem} error=${found.error} />` : null}
    ${found?.fields ? (found.fields.length ? html`<ul class="changes">${found.fields.map((one) => html`<${FieldChange} key=${`${from} ${to} ${one.field}`} field=${one} />`)}</ul>` : html`<p class="nothing">Nothing differs.</p>`) : null}
  </section>`;
}
