// Where a trace's page reads: what those with a key may read, or what everyone may who has the token of a share.

import { get } from "./api.js";

/** A trace of this server, by its id. */
export class OwnTrace {
  isShared = false;

  constructor(id) {
    this.traceId = id;
    /** The run that is looked at when the address names none. */
    this.firstRunId = id;
  }

  outline(asOf) {
    return get(`/dashboard/runs/${this.traceId}/outline`, { as_of_position: asOf });
  }

  run(runId, version) {
    return get(`/runs/${runId}`, { as_of_version: version, status_words: "documented" });
  }

  feedback(runId) {
    return get("/feedback", { run: runId, limit: 100 });
  }
}

const DOCUMENTED = { success: "completed", error: "failed", pending: "running" };

/** The trace of a run that is shared, by the token. It has no history, and it is not followed. */
export class SharedTrace {
  isShared = true;
  traceId = null;
  firstRunId = null;

  constructor(token) {
    this.path = `/public/${token}`;
  }

  async outline() {
    const [run, answer] = await Promise.all([get(`${this.path}/run`), get(`${this.path}/outline`)]);
    this.firstRunId = run.id;
    this.traceId = answer.root_run_id;
    return answer;
  }

  async run(runId) {
    const run = await get(`${this.path}/run/${runId}`);
    return { ...run, status: DOCUMENTED[run.status] ?? run.status, offloaded: offloaded(run) };
  }

  feedback(runId) {
    return get(`${this.path}/feedbacks`, { run: runId, limit: 100 });
  }
}

/** The inputs and outputs that are stored beside the log: these answers stand a place where the value would be. */
function offloaded(run) {
  const places = Object.entries({ inputs: run.inputs, outputs: run.outputs }).filter(([, value]) => isPlace(value));
  return Object.fromEntries(places);
}

function isPlace(value) {
  return typeof value?.url === "string" && /\/contents\/[0-9a-f]{64}\?/.test(value.url) && "preview" in value && "size" in value;
}
