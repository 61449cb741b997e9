// The traces that the list holds: pages of them, brought up to date where the viewer looks.

import { get } from "./api.js";
import { time } from "./times.js";
import { Store } from "./view.js";

const PAGE = 60;
const AT_ONCE_MAX = 200;
const CAUGHT_UP_MAX = 1000;
// Who watches traces come for hours keeps the newest of them, and reads the others anew when going down to them.
const KEPT_MAX = 2000;
const KEPT = 1000;
const GAP_MS = 400;
const FRESH_MS = 2500;

/** Which traces: what the address says, as the endpoint asks for it. */
export function queryOf(filters, now = Date.now()) {
  const { project, status, search, search_in } = filters;
  const span = RANGES[filters.range];
  return {
    project,
    status,
    search,
    search_in: search && search_in,
    start_time_gte: span ? new Date(now - span).toISOString() : filters.from,
    start_time_lte: span ? null : filters.to,
    preview: true,
    trace_totals: true,
  };
}

const HOUR = 3_600_000;
export const RANGES = { "15m": HOUR / 4, "1h": HOUR, "24h": 24 * HOUR, "7d": 168 * HOUR, "30d": 720 * HOUR };
export const FILTERS = ["project", "status", "range", "from", "to", "search", "search_in"];

/** Whether any of them leaves traces out. Where to search says nothing while nothing is searched for. */
export function isFiltered(filters) {
  return FILTERS.some((name) => filters[name] && name !== "search_in");
}

/** The filters that an address holds. */
export function filtersOf(parameters) {
  return Object.fromEntries(FILTERS.map((name) => [name, parameters.get(name) ?? ""]));
}

export class TraceList extends Store {
  rows = [];
  /** How many there are in all; null while that is not known, which in a search through all texts is always so. */
  total = null;
  error = null;
  isLoading = true;
  /** Whether an answer has come. */
  isRead = false;
  fresh = new Set();
  #filters;
  /** How to ask for what is below the last row; null when there is nothing. */
  #next = null;
  #busy = null;
  #isStale = false;
  #lastRefresh = 0;
  #visible = () => null;

  constructor(filters) {
    super();
    this.#filters = filters;
    this.load();
  }

  get hasMore() {
    return this.#next !== null;
  }

  /** Whether there is nothing to show, now that all is known. */
  get isEmpty() {
    return this.isRead && !this.rows.length && !this.hasMore;
  }

  /** Says where the viewer looks: a function that gives {first, last}, places of rows. */
  lookAt(visible) {
    this.#visible = visible;
  }

  /** The first page, anew. */
  load() {
    return this.#alone(async () => {
      const page = await this.#page({ limit: PAGE });
      this.rows = page.runs.map(withTimes);
      this.#next = below(page);
      this.isRead = true;
    });
  }

  /** The next page, if there is one and none is on its way. */
  more() {
    if (!this.#next || this.#busy || this.error) return;
    this.#alone(async () => {
      const page = await this.#page({ limit: PAGE, ...this.#next });
      const known = new Set(this.rows.map((row) => row.id));
      this.rows = [...this.rows, ...page.runs.filter((run) => !known.has(run.id)).map(withTimes)];
      this.#next = below(page);
    });
  }

  /** Brings what is new, and what the viewer looks at, up to date: soon, and not too often. */
  refresh() {
    if (this.#isStale) return;
    this.#isStale = true;
    setTimeout(() => this.#refreshWhenFree(), Math.max(0, this.#lastRefresh + GAP_MS - performance.now()));
  }

  async #refreshWhenFree() {
    await this.#busy;
    this.#isStale = false;
    await this.#alone(async () => {
      const began = performance.now();
      this.#merge(await this.#newest(), null);
      const seen = this.#visible();
      if (seen && seen.first >= PAGE && this.rows[seen.first]) {
        const from = this.rows[seen.first];
        const limit = Math.min(seen.last - seen.first + 1, AT_ONCE_MAX);
        this.#merge(await this.#page({ limit, start_time_lte: from.start_time }), from);
      } else if (!seen || seen.last < KEPT / 2) this.#trim();
      // What takes the server long is not asked for all the time.
      this.#lastRefresh = performance.now() + 2 * (performance.now() - began);
    });
  }

  /** The first page, and as many more as it takes to come to a row that is there already: many may have come at once. */
  async #newest() {
    const known = new Set(this.rows.map((row) => row.id));
    const page = await this.#page({ limit: PAGE });
    const isApart = () => page.next !== null && known.size > 0 && !page.runs.some((run) => known.has(run.id));
    while (isApart() && page.runs.length && page.runs.length < CAUGHT_UP_MAX) {
      const more = await this.#page({ limit: AT_ONCE_MAX, after: page.next });
      page.runs.push(...more.runs);
      page.next = more.next;
      if (!more.runs.length) break; // A search that takes long.
    }
    return { ...page, isApart: isApart() };
  }

  #trim() {
    if (this.rows.length <= KEPT_MAX) return;
    this.rows = this.rows.slice(0, KEPT);
    this.#next = { start_time_lte: this.rows.at(-1).start_time };
  }

  /** Takes over the newest word on a stretch of the list, from a row (or the top) down to the last one fetched. */
  #merge(page, from) {
    const fetched = page.runs.map(withTimes);
    if (!fetched.length && page.next !== null) return;
    const known = new Set(this.rows.map((row) => row.id));
    const came = new Set(fetched.map((row) => row.id));
    const last = fetched.at(-1);
    const isWithin = (row) => (from === null || compare(row, from) >= 0) && (page.next === null || compare(row, last) <= 0);
    // Between what was fetched and what is there may be others: then the list goes on from what was fetched.
    const others = page.isApart ? [] : this.rows.filter((row) => !came.has(row.id) && !isWithin(row));
    this.rows = [...others, ...fetched].sort(compare);
    if (page.next === null) this.#next = null;
    else if (page.isApart || (this.#next === null && this.rows.length === fetched.length)) this.#next = below(page);
    this.#mark(fetched.filter((row) => !known.has(row.id)));
  }

  #mark(rows) {
    if (!rows.length) return;
    for (const row of rows) this.fresh.add(row.id);
    setTimeout(() => {
      for (const row of rows) this.fresh.delete(row.id);
      this.changed();
    }, FRESH_MS);
  }

  async #page(parameters) {
    const query = queryOf(this.#filters);
    const page = await get("/dashboard/runs/roots", { ...query, ...parameters });
    // Asked from some row on, the answer counts only what is below it.
    if (!parameters.start_time_lte) this.total = page.total;
    return page;
  }

  /** One request at a time, so that no answer takes the place of a later one. */
  async #alone(work) {
    while (this.#busy) await this.#busy;
    this.isLoading = true;
    this.#busy = work().then(
      () => { this.error = null; },
      (error) => { this.error = error; },
    );
    this.changed();
    await this.#busy;
    this.#busy = null;
    this.isLoading = false;
    this.changed();
  }
}

function below(page) {
  return page.next === null ? null : { after: page.next };
}

function withTimes(run) {
  return { ...run, start: time(run.start_time), end: time(run.end_time) };
}

function compare(one, other) {
  if (one.start !== other.start) return other.start - one.start;
  return one.id < other.id ? 1 : one.id > other.id ? -1 : 0;
}
