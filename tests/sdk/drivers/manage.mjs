// Manages projects, feedback, shares and threads through the SDK; prints what came back.

import { randomUUID } from "node:crypto";
import { Client } from "langsmith";

const PROJECT = `${process.env.LANGSMITH_PROJECT}, managed`;
const THREAD = "thread-café";
const client = new Client({ autoBatchTracing: false });

async function outcome(work) {
  try {
    await work();
  } catch (error) {
    return error.name;
  }
  return "nothing";
}

async function gathered(pages) {
  const found = [];
  for await (const one of pages) found.push(one);
  return found;
}

const made = await client.createProject({ projectName: PROJECT, description: "what for", metadata: { team: "a" } });
const id = randomUUID();
await client.createRun({
  id,
  name: "managed",
  run_type: "chain",
  inputs: { minute: 1 },
  outputs: { minute: 1 },
  start_time: "2024-01-15T10:30:00.000Z",
  end_time: "2024-01-15T10:30:04.000Z",
  project_name: PROJECT,
  extra: { metadata: { thread_id: THREAD } },
});
const conflict = await outcome(() => client.createProject({ projectName: PROJECT }));
const read = await client.readProject({ projectName: PROJECT, includeStats: true });
const name = `${PROJECT} anew`;
const renamed = await client.updateProject(made.id, { name, description: "renamed" });
const has = [await client.hasProject({ projectName: name }), await client.hasProject({ projectName: PROJECT })];

const given = await client.createFeedback(id, "correctness", { score: 1 });
await client.updateFeedback(given.id, { score: 0.5 });
const feedback = await client.readFeedback(given.id);
const listed = await gathered(client.listFeedback({ runIds: [id], feedbackKeys: ["correctness"] }));
await client.deleteFeedback(given.id);

const token = await client.createPresignedFeedbackToken(id, "helpful", { expiration: { hours: 1 } });
await fetch(token.url, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ score: 1, comment: "by a link" }),
});
const [byLink] = await gathered(client.listFeedback({ runIds: [id], feedbackKeys: ["helpful"] }));
const tokens = await gathered(client.listPresignedFeedbackTokens(id));

const before = await client.readRunSharedLink(id);
const link = await client.shareRun(id);
const during = await client.readRunSharedLink(id);
const shareToken = link.split("/").at(-2);
const shared = await fetch(`${process.env.LANGSMITH_ENDPOINT}/public/${shareToken}/run`);
const sharedId = (await shared.json()).id;
const sharedRuns = [];
for (const wanted of [{}, { runIds: [id, randomUUID()] }, { runIds: [randomUUID()] }]) {
  sharedRuns.push((await client.listSharedRuns(shareToken, wanted)).map((run) => run.id === id));
}
await client.unshareRun(id);
const after = await client.readRunSharedLink(id);

const turns = await gathered(client.readThread({ threadId: THREAD, projectName: name }));
const threads = await client.listThreads({ projectName: name, startTime: new Date("2024-01-01T00:00:00Z") });

const project_id = made.id;
const since = "2024-01-01T00:00:00Z";
const second = { project_id, min_start_time: since };
const v2Token = (await client.runs.share.create(id, { session_id: project_id, trace_id: id })).share_token;
const publicRun = await client.public.runs.retrieve(id, { share_token: v2Token, start_time: since, selects: ["NAME"] });
for (const _ of [1, 2]) await client.runs.share.delete(id, { session_id: project_id });
const tree = await client.traces.listRuns(id, { project_id, selects: ["ID", "PARENT_RUN_IDS"] });
const secondGeneration = {
  publicName: publicRun.name,
  threads: (await gathered(client.threads.query(second))).map((thread) => [thread.thread_id, thread.count]),
  streamed: (await gathered(client.threads.streaming.queryItems(second))).map((thread) => thread.thread_id),
  turns: (await gathered(client.threads.listTraces(THREAD, { project_id, selects: ["TURN_NUMBER"] }))).map(
    (trace) => trace.turn_number,
  ),
  stats: (await client.threads.stats(THREAD, { session_id: project_id, selects: ["TURNS"] })).turns,
  sums: (await client.threads.aggregateStats({ ...second, select: ["THREAD_COUNT"] })).thread_count,
  roots: (await gathered(client.traces.query({ ...second, selects: ["NAME"] }))).map((trace) => trace.root_run.name),
  tree: tree.items.map((run) => [run.id === id, run.parent_run_ids]),
};
await client.deleteProject({ projectName: name });

const document = {
  made: [made.description, made.extra.metadata.team === "a"],
  conflict,
  stats: read.run_count,
  renamed: [renamed.description, renamed.name === name],
  has,
  feedback: [feedback.key, feedback.score, listed.length],
  token: [byLink.score, byLink.comment, tokens.length],
  shared: [before ?? null, link === during, sharedId === id, after ?? null],
  sharedRuns,
  turns: turns.map((run) => run.inputs.minute),
  threads: threads.map((thread) => [thread.thread_id, thread.count]),
  secondGeneration,
  deleted: await client.hasProject({ projectName: name }),
};
process.stdout.write(JSON.stringify(document) + "\n");
