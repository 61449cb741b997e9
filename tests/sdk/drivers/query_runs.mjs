// Asks for runs through the SDK in every way it offers; prints the answers as one line of JSON.

import { Client } from "langsmith";

let text = "";
for await (const chunk of process.stdin) text += chunk;
const { project, root, questions } = JSON.parse(text);
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
document.failed = (await client.getRunStats({ projectNames: [project], error: true })).run_count;
const run = await client.readRun(root, { loadChildRuns: true });
document.family = family(run);
document.url = await client.getRunUrl({ run });
document.app_path = run.app_path;
document.groups = [];
for await (const group of client.listGroupRuns({ projectName: project, groupBy: "conversation" })) {
  document.groups.push([group.thread_id, group.count]);
}
process.stdout.write(JSON.stringify(document) + "\n");
