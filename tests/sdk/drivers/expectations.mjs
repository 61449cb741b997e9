// What a driver expects the store to hold, taken from the run trees that the SDK itself filled and sent.

import { createHash } from "node:crypto";

const warnings = [];
// The SDK tells its user here what went wrong.
console.warn = (...words) => warnings.push(words.join(" "));
console.error = (...words) => warnings.push(words.join(" "));

export function attachment(mimeType, content) {
  return { mime_type: mimeType, sha256: createHash("sha256").update(content).digest("hex") };
}

export function statuses({ error, ended }) {
  if (error) return { status: "failed", langsmith_status: "error" };
  if (ended) return { status: "completed", langsmith_status: "success" };
  return { status: "running", langsmith_status: "pending" };
}

export class Expectations {
  #trees = [];
  #runs = [];
  #feedback = [];

  /** Expect `tree`; its fields are looked at in `report`. */
  keep(tree) {
    this.#trees.push(tree);
    return tree;
  }

  /** Expect a run that was written without a run tree; fields that are not named are not compared. */
  expectRun(run) {
    this.#runs.push(run);
  }

  expectFeedback(feedback) {
    this.#feedback.push(feedback);
  }

  /** Hand everything over to the server, then print the document as one line of JSON. */
  async report(client, sdk) {
    // Large runs are written by a worker thread that does not keep the process alive; a server's socket would.
    const alive = setInterval(() => {}, 1000);
    await client.awaitPendingTraceBatches();
    clearInterval(alive);
    const runs = [...this.#trees.map(expected), ...this.#runs];
    process.stdout.write(JSON.stringify({ sdk, runs, feedback: this.#feedback, warnings }) + "\n");
  }
}

function expected(tree) {
  const metadata = tree.extra?.metadata ?? {};
  return {
    id: tree.id,
    trace_id: tree.trace_id,
    parent_run_id: tree.parent_run?.id ?? tree.parent_run_id ?? null,
    dotted_order: tree.dotted_order,
    name: tree.name,
    run_type: tree.run_type,
    project: tree.project_name,
    start_time: startTime(tree.dotted_order),
    end_time: tree.end_time ? new Date(tree.end_time).toISOString() : null,
    inputs: tree.inputs,
    outputs: tree.outputs ?? null,
    error: tree.error ?? null,
    tags: tree.tags ?? [],
    metadata,
    events: (tree.events ?? []).map(event),
    usage: tree.run_type === "llm" ? tokens(metadata.usage_metadata ?? tree.outputs?.usage_metadata) : null,
    thread_id: metadata.session_id ?? metadata.thread_id ?? null,
    attachments: Object.fromEntries(Object.entries(tree.attachments ?? {}).map(described)),
    ...statuses({ error: tree.error, ended: Boolean(tree.end_time) }),
  };
}

/** An event as the client passes it on: of a new token it keeps when it came, not what it was. */
function event({ kwargs, ...rest }) {
  return rest.name === "new_token" || kwargs === undefined ? rest : { ...rest, kwargs };
}

function described([name, value]) {
  const [mimeType, content] = Array.isArray(value) ? value : [value.mimeType, value.data];
  return [name, attachment(mimeType, content)];
}

function tokens(usage) {
  if (!usage) return null;
  return {
    prompt_tokens: usage.input_tokens,
    completion_tokens: usage.output_tokens,
    total_tokens: usage.total_tokens,
  };
}

/** The start that a run says in its last segment, `20240131T102030405001Z<id>`: finer than a JavaScript date. */
function startTime(dottedOrder) {
  const [, year, month, day, hour, minute, second, micros] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{6})Z/.exec(dottedOrder.split(".").at(-1));
  return `${year}-${month}-${day}T${hour}:${minute}:${second}.${micros}+00:00`;
}
