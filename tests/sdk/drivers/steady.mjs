// Traces at a steady pace for some seconds, waits until the SDK has sent all it will, and prints the ids of the runs.

import { readFileSync } from "node:fs";

import { Client } from "langsmith";
import { getCurrentRunTree, traceable } from "langsmith/traceable";

const PAUSE_MS = 50;

const client = new Client();
const ids = [];
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const answer = traceable(
  async (number) => {
    ids.push(getCurrentRunTree().id);
    await pause(PAUSE_MS);
    return { number };
  },
  { name: "answer", run_type: "llm", client },
);

const agent = traceable(
  async (number) => {
    ids.push(getCurrentRunTree().id);
    return await answer(number);
  },
  { name: "agent", client },
);

const { seconds } = JSON.parse(readFileSync(0, "utf8"));
const end = Date.now() + seconds * 1000;
while (Date.now() < end) {
  await agent(ids.length);
}
await client.awaitPendingTraceBatches();
console.log(JSON.stringify({ ids }));
