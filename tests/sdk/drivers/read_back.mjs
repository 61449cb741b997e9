// Reads the runs and feedback named on standard input through the SDK; prints them in the fields of the API.

import { Client } from "langsmith";

let text = "";
for await (const chunk of process.stdin) text += chunk;
const { runs, feedback } = JSON.parse(text);
const client = new Client();
const document = { runs: [], feedback: [] };
for (const id of runs) document.runs.push(await client.readRun(id));
for (const id of feedback) document.feedback.push(await client.readFeedback(id));
process.stdout.write(JSON.stringify(document) + "\n");
