// Asks for runs through the SDK in every way it offers; prints the answers as one line of JSON.

import { Client } from "langsmith";

let text = "";
for await (const chunk of process.stdin) text += chunk;
const { project, project_id, root, questions, sums, second } = JSON.parse(text);
const client = new Client();

const ids = async (runs) => {
  const found = [];
  for await (const run of runs) found.push(run.id);
  return found;
};

const family = (run) => ({ id: run.id, children: (run.child_runs ?? []).map(family) });

const document = { answers: [] };
for (const question of questions) {
  if (question.startTime) question.startTime = new Date(question.startTime);
  document.answers.push(await ids(client.listRuns(question)));
}
document.stats = await client.getRunStats({ projectNames: [project] });
document.counts = [];
for (const sum of sums) document.counts.push((await client.getRunStats(sum)).run_count);
document.limited = (await ids(client.listRuns({ projectName: project, limit: 3 }))).length;
const run = await client.readRun(root, { loadChildRuns: true });
document.family = family(run);
document.url = await client.getRunUrl({ run });
document.app_path = run.app_path;
document.groups = [];
for await (const group of client.listGroupRuns({ projectName: project, groupBy: "conversation" })) {
  document.groups.push([group.thread_id, group.count]);
}

const asked = { project_ids: [project_id], min_start_time: "2020-01-01T00:00:00Z" };
const selects = ["ID", "NAME", "RUN_TYPE", "STATUS", "TAGS"];
const found = [];
for await (const one of client.runs.queryV2({ ...asked, selects, page_size: 7 })) found.push(one);
const answers = [];
for (const question of second) answers.push(await ids(client.runs.queryV2({ ...asked, ...question })));
const one = await client.runs.retrieveV2(root, { project_id, selects });
const { url } = await client.runs.getURL(root, { project_id, trace_id: root });
document["second generation"] = {
  ids: found.map((run) => run.id),
  types: Object.fromEntries(found.map((run) => [run.id, run.run_type])),
  answers,
  streamed: await ids(client.runs.streaming.queryV2Items({ ...asked, page_size: 7 })),
  retrieved: [one.id, one.name, one.status, one.tags],
  url,
};
process.stdout.write(JSON.stringify(document) + "\n");
