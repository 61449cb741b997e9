// Operations: whether the service is well, what it took in, what it could not use, and its read models.

import { address, get, request, send } from "./api.js";
import { Problem } from "./frame.js";
import { Icon } from "./icons.js";
import { bytes, count, percent } from "./numbers.js";
import { ago, duration, exactTime, time } from "./times.js";
import { Store, classes, html, useEffect, useMemo, useState, useStore, useTitle } from "./view.js";

const EVERY_MS = 5000;
const WORKING_MS = 500;
const RECEIPTS = 15;
const ITEMS = 50;

/** What the page shows, read again every few seconds: each part by itself, so that one that fails hides no other. */
class Operations extends Store {
  health = null;
  ready = null;
  projections = null;
  receipts = null;
  quarantine = null;
  errors = {};
  #timer = null;

  async read() {
    clearTimeout(this.#timer);
    await Promise.all([
      this.#take("health", () => evenIfNotWell("/health")),
      this.#take("ready", () => evenIfNotWell("/health/ready")),
      this.#take("projections", () => get("/projections")),
      this.#take("receipts", () => get("/receipts", { order: "desc", limit: RECEIPTS })),
      this.#take("quarantine", () => get("/quarantine", { order: "desc", limit: ITEMS })),
    ]);
    this.changed();
    this.#timer = setTimeout(() => this.read(), this.isRebuilding ? WORKING_MS : EVERY_MS);
  }

  close() {
    clearTimeout(this.#timer);
    this.read = async () => {};
  }

  get isRebuilding() {
    return Boolean(running(this.projections));
  }

  async #take(name, reading) {
    try {
      this[name] = await reading();
      delete this.errors[name];
    } catch (error) {
      this.errors[name] = error;
    }
  }
}

/** How the service is. It tells that with a 503 as well. */
async function evenIfNotWell(path) {
  const answer = await fetch(path, { cache: "no-store" }).catch(() => null);
  if (!answer) return { status: "unreachable", ready: false, checks: {} };
  return answer.json();
}

export function OperationsPage() {
  useTitle("Operations");
  const store = useStore(useMemo(() => new Operations(), []));
  useEffect(() => {
    store.read();
    return () => store.close();
  }, []);
  return html`<div class="page">
    <header class="page-head"><h1>Operations</h1></header>
    <${Health} store=${store} />
    <${Projections} store=${store} />
    <${Quarantine} store=${store} />
    <${Receipts} store=${store} />
  </div>`;
}

function Health({ store }) {
  const { health, ready } = store;
  if (!health || !ready) return html`<p class="loading" role="status">Asking the service…</p>`;
  const isWell = health.status === "healthy";
  return html`<dl class="tiles" aria-label="Health">
    <div><dt>Service</dt><dd class=${isWell ? "words-completed" : "words-failed"}>${capital(health.status)}</dd></div>
    ${Object.entries(ready.checks).map(([name, isFine]) => html`<div key=${name}><dt>${capital(name)}</dt><dd class=${isFine ? "words-completed" : "words-failed"}>${isFine ? "Fine" : "Not ready"}</dd></div>`)}
    ${health.version ? html`<div><dt>Version</dt><dd>${health.version} <small>${health.environment}</small></dd></div>` : null}
    ${health.uptime_seconds ? html`<div><dt>Up for</dt><dd>${duration(1000 * health.uptime_seconds)}</dd></div>` : null}
  </dl>`;
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}

function Card({ title, words = null, store, part, children }) {
  return html`<section class="card" aria-label=${title}><header class="card-head"><h2>${title}</h2>${words}</header>
    ${store.errors[part] ? html`<${Problem} error=${store.errors[part]} />` : null}${children}</section>`;
}

function Projections({ store }) {
  const told = store.projections;
  const [error, setError] = useState(null);
  const [isDry, setDry] = useState(true);
  const start = (projection) => {
    setError(null);
    send("POST", "/projections/rebuild", { projection, dry_run: isDry }).then(() => store.read(), setError);
  };
  const job = running(told);
  const words = told ? html`<p class="card-words">Head ${count(told.head)}, folds ${told.fold_version}${told.is_current ? "" : html` <b class="words-failed">not this server's (${told.own_fold_version}): it writes nothing until a rebuild</b>`}</p>` : null;
  return html`<${Card} title="Read models" words=${words} store=${store} part="projections">
    ${error ? html`<${Problem} error=${error} />` : null}
    ${job ? html`<${Progress} job=${job} store=${store} />` : null}
    ${told ? html`<div class="card-tools"><label class="check"><input type="checkbox" checked=${isDry} onChange=${(event) => setDry(event.target.checked)} /> Only compare, replace nothing</label>
      <button type="button" disabled=${Boolean(job)} onClick=${() => start(null)}>${isDry ? "Compare all" : "Rebuild all"}</button></div>
    <div class="table-box" tabindex="0" role="group" aria-label="Read models"><table class="numbers wide"><thead><tr><th scope="col">Name</th><th scope="col">Rows</th><th scope="col">Checkpoint</th><th scope="col">Lag</th><th scope="col" class="words">Last rebuild</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
      <tbody>${told.projections.map((one) => html`<tr key=${one.name}><th scope="row">${one.name}</th><td>${count(one.rows)}</td><td>${count(one.checkpoint)}</td>
        <td class=${one.lag ? "words-failed" : "words-completed"}>${count(one.lag)}</td><td class="words">${rebuildWords(one.last_rebuild)}${one.last_comparison ? html`; ${rebuildWords(one.last_comparison)}` : null}</td>
        <td><button type="button" class="quiet" disabled=${Boolean(job)} onClick=${() => start(one.name)} aria-label=${`${isDry ? "Compare" : "Rebuild"} ${one.name}`}>${isDry ? "Compare" : "Rebuild"}</button></td></tr>`)}</tbody></table></div>` : null}
  <//>`;
}

/** The rebuild or comparison that is under way, if one is. */
function running(told) {
  const jobs = told?.projections.flatMap((one) => [one.last_rebuild, one.last_comparison]) ?? [];
  return jobs.find((job) => job && !job.ended_at) ?? null;
}

function rebuildWords(job) {
  if (!job) return "never";
  if (!job.ended_at) return job.step;
  const outcome = { equal: "compared: equal", different: "compared: different", replaced: "replaced" }[job.outcome] ?? (job.cancelled ? "cancelled" : job.outcome ?? "failed");
  return html`<span title=${job.notes.join("\n")} class=${classes(!["equal", "replaced"].includes(job.outcome) && !job.cancelled && "words-failed")}>${outcome}, ${ago(time(job.ended_at), Date.now())}</span>`;
}

function Progress({ job, store }) {
  const cancel = () => send("DELETE", `/projections/rebuild/${job.id}`).then(() => store.read(), () => store.read());
  const left = job.seconds_left === null ? "" : `, ${duration(1000 * job.seconds_left)} left`;
  return html`<div class="progress"><progress max=${Math.max(1, job.events_total)} value=${job.events} aria-label="Rebuild"></progress>
    <span role="status">${job.step}: ${count(job.events)} of ${count(job.events_total)} events (${percent(job.events, job.events_total)})${left}</span>
    <button type="button" onClick=${cancel}>Cancel</button></div>`;
}

function Receipts({ store }) {
  const told = store.receipts;
  if (!told) return html`<${Card} title="Receipts" store=${store} part="receipts" />`;
  const { received, applied, duplicate, quarantined } = told.sums;
  const words = html`<p class="card-words">${count(received)} received = ${count(applied)} applied + ${count(duplicate)} duplicate + ${count(quarantined)} quarantined</p>`;
  return html`<${Card} title="Receipts" words=${words} store=${store} part="receipts">
    <div class="table-box" tabindex="0" role="group" aria-label="Receipts"><table class="numbers wide"><thead><tr>${["Receipt", "Received", "From", "Endpoint", "Bytes", "Applied", "Duplicate", "Quarantined"].map((head) => html`<th scope="col" class=${classes(["From", "Endpoint"].includes(head) && "words")}>${head}</th>`)}</tr></thead>
      <tbody>${told.receipts.map((one) => html`<tr key=${one.receipt_id}><th scope="row">${count(one.receipt_id)}</th><td><time title=${exactTime(time(one.received_at))}>${ago(time(one.received_at), Date.now())}</time></td>
        <td class="words">${one.sdk ? `${one.sdk} ${one.sdk_version ?? ""}` : one.user_agent ?? "–"} <small>${one.remote_address ?? ""}${one.key_id ? `, key ${one.key_id}` : ""}</small></td><td class="words">${one.endpoint}</td>
        <td>${bytes(one.content_size)}</td><td>${count(one.applied)}</td><td>${count(one.duplicate)}</td><td class=${one.quarantined ? "words-failed" : ""}>${count(one.quarantined)}</td></tr>`)}</tbody></table></div>
  <//>`;
}

function Quarantine({ store }) {
  const told = store.quarantine;
  const items = told?.items ?? [];
  const words = told && !items.length ? html`<p class="card-words">Empty: everything that came could be used.</p>` : null;
  return html`<${Card} title="Quarantine" words=${words} store=${store} part="quarantine">
    <ul class="quarantine">${items.map((item) => html`<${Item} key=${item.quarantine_id} item=${item} store=${store} />`)}</ul>
    ${told?.next ? html`<p class="note">Only the newest ${ITEMS} are shown.</p>` : null}
  <//>`;
}

function Item({ item, store }) {
  const [raw, setRaw] = useState(null);
  const [text, setText] = useState("");
  const [error, setError] = useState(null);
  const open = async (event) => {
    if (!event.currentTarget.open || raw) return;
    try {
      const whole = await get(`/quarantine/${item.quarantine_id}`);
      setRaw(whole);
      setText(whole.raw ?? "");
    } catch (failure) {
      setError(failure);
    }
  };
  const retry = async () => {
    setError(null);
    const isCorrected = text !== raw.raw;
    try {
      await request(address(`/quarantine/${item.quarantine_id}/retry`), { method: "POST", ...(isCorrected ? { body: text } : {}) });
      await store.read();
    } catch (failure) {
      setError(failure);
    }
  };
  const state = item.outcome ? `${item.outcome} ${ago(time(item.retried_at), Date.now())}` : item.is_erased ? "erased" : "open";
  return html`<li><details onToggle=${open}><summary><span class=${classes("badge", item.outcome === null && "for-warning")}>${state}</span> <b>#${item.quarantine_id}</b> ${item.reason} <small>${ago(time(item.recorded_at), Date.now())}, receipt ${count(item.receipt_id)}, ${bytes(item.raw_size)}</small></summary>
    ${error ? html`<${Problem} error=${error} />` : null}
    ${raw && raw.raw_encoding === "utf-8" && item.outcome === null ? html`<label class="field"><span>The item as it came. Correct it here, if need be.</span><textarea rows="6" value=${text} onInput=${(event) => setText(event.target.value)} spellcheck=${false}></textarea></label>
      <button type="button" class="primary" onClick=${retry}><${Icon} name="play" size=${13} />${text === raw.raw ? "Try again" : "Try with the correction"}</button>` : null}
    ${raw && (raw.raw_encoding !== "utf-8" || item.outcome !== null) ? html`<pre class="text code">${raw.raw ?? "Its bytes were erased."}</pre>` : null}
  </details></li>`;
}
