// Traces what users of the JavaScript SDK trace, with nothing but its public names; prints what should be stored.

import { Client, RunTree, uuid7, __version__ } from "langsmith";
import { getCurrentRunTree, traceable } from "langsmith/traceable";

import { Expectations, statuses } from "./expectations.mjs";

const PROJECT = process.env.LANGSMITH_PROJECT;
const THREAD = "thread-café-js";
const GREETING = "Grüße 👋🏽, مرحبا بالعالم, 你好世界";

const client = new Client();
const expectations = new Expectations();
const keep = () => expectations.keep(getCurrentRunTree());
const traced = (name, inner, options = {}) => traceable(inner, { name, client, ...options });
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Nested runs: an agent that retrieves, calls a model with token usage, and a tool.

const retrieve = traced(
  "retrieve",
  async (question) => {
    keep();
    return [{ page_content: `About ${question}`, type: "Document", metadata: { rank: 1, score: 0.25 } }];
  },
  { run_type: "retriever", tags: ["lookup"] },
);

const chat = traced(
  "ChatModel",
  async ({ messages }) => {
    keep();
    return {
      choices: [{ message: { role: "assistant", content: `${GREETING} (${messages.length})` } }],
      usage_metadata: { input_tokens: 27, output_tokens: 13, total_tokens: 40 },
    };
  },
  { run_type: "llm", metadata: { ls_provider: "openai", ls_model_name: "gpt-test" } },
);

const multiply = traced(
  "multiply",
  ({ a, b }) => {
    keep();
    return a * b;
  },
  { run_type: "tool" },
);

const agent = (metadata) =>
  traced(
    "agent",
    async (question) => {
      keep();
      await retrieve(question);
      const answer = await chat({ messages: [{ role: "user", content: question }] });
      return { answer: answer.choices[0].message.content, product: await multiply({ a: 6, b: 7 }) };
    },
    { tags: ["décor", "agent"], metadata: { version: "1.2", nested: { deep: [1, null, true] }, ...metadata } },
  );

async function nested() {
  await agent({ session_id: THREAD, turn: 1 })(GREETING);
  await agent({ thread_id: THREAD, turn: 2 })("again");
}

// Children at the same time, and streams.

const fetchOne = traced(
  "fetch",
  async (number) => {
    keep();
    await pause(2 * (5 - number));
    return { number };
  },
  { run_type: "tool" },
);

const gather = traced("gather", async (numbers) => {
  keep();
  return Promise.all(numbers.map((number) => fetchOne(number)));
});

const stream = traced(
  "stream",
  async function* (count) {
    keep();
    for (let number = 0; number < count; number++) {
      await pause(0);
      yield { chunk: number, text: "é".repeat(number) };
    }
  },
  { run_type: "llm" },
);

const streamText = traced(
  "stream_text",
  function* (text) {
    keep();
    yield* text.split(" ");
  },
  { aggregator: (chunks) => chunks.join(" ") },
);

const streamThatFails = traced("stream_that_fails", async function* () {
  keep();
  yield 1;
  throw new Error("the stream broke off");
});

async function read(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

async function streaming() {
  await gather([0, 1, 2, 3, 4]);
  await read(await stream(4));
  await read(await streamText(GREETING));
  await mustFail(async () => read(await streamThatFails()));
}

// Failing runs.

const fail = traced(
  "fail",
  async (item) => {
    keep();
    throw new TypeError(`no ${item} left: 品切れ`);
  },
  { run_type: "tool" },
);

const failAbove = traced("parent_that_fails", async (item) => {
  keep();
  return fail(item);
});

const recover = traced("parent_that_recovers", async (item) => {
  keep();
  try {
    return await fail(item);
  } catch (error) {
    return { recovered: true, because: error.message };
  }
});

async function mustFail(action) {
  try {
    await action();
  } catch {
    return;
  }
  throw new Error("What should fail did not.");
}

async function failing() {
  await recover("tea");
  await mustFail(() => failAbove("rice"));
}

// Many traces at once.

const step = traced("step", async (worker, number) => {
  keep();
  await pause(1);
  return { worker, number };
});

const work = traced(
  "worker",
  async (worker) => {
    keep();
    return { steps: await Promise.all([step(worker, 0), step(worker, 1)]) };
  },
  { tags: ["concurrent"] },
);

async function concurrent() {
  await Promise.all(Array.from({ length: 24 }, (_, worker) => work(worker)));
}

// Shapes of values.

const give = traced("give", async (value) => {
  keep();
  return value;
});

const takeMuch = traced("big", async ({ text }) => {
  keep();
  return { length: text.length, rows: Array.from({ length: 500 }, (_, row) => ({ row, text: "0123456789".repeat(10) })) };
});

async function values() {
  for (const value of [7, 2.5, true, "plain", "", [1, "two", null, [3]], { empty: {}, none: null }, null]) {
    await give(value);
  }
  await takeMuch({ text: "ж0123456".repeat(120_000) });
}

// Attachments.

const attach = traced(
  "attached",
  async (question, picture) => {
    keep();
    return `${question}: ${picture.length} bytes`;
  },
  { extractAttachments: (question, picture) => [{ picture: ["image/png", picture] }, { question }] },
);

async function attachments() {
  await attach("what is this", Uint8Array.from({ length: 10_240 }, (_, index) => index % 256));
  const tree = new RunTree({
    name: "attached by hand",
    inputs: { n: 1 },
    project_name: PROJECT,
    client,
    attachments: {
      audio: { mimeType: "audio/wav", data: new TextEncoder().encode("RIFF\0\0--boundary\r\n\r\n") },
      table: ["text/csv", new TextEncoder().encode("a,b\r\n1,é\r\n")],
    },
  });
  await tree.postRun();
  await tree.end({ n: 2 });
  await tree.patchRun();
  expectations.keep(tree);
}

// Run trees by hand: a finished one with children, and one that never ends.

async function runTrees() {
  const root = new RunTree({
    name: "by hand",
    run_type: "chain",
    inputs: { question: GREETING },
    tags: ["manual"],
    metadata: { made: "by hand" },
    project_name: PROJECT,
    client,
  });
  await root.postRun();
  const child = root.createChild({ name: "child by hand", run_type: "tool", inputs: { x: 1 }, tags: ["manual-child"] });
  await child.postRun();
  await child.end(undefined, "RangeError: by hand");
  await child.patchRun();
  const waiting = root.createChild({ name: "never ends", run_type: "llm", inputs: { prompt: "?" } });
  await waiting.postRun();
  root.addEvent({ name: "checkpoint", time: "2024-01-02T03:04:05+00:00", kwargs: { at: 1 } });
  await root.end({ answer: 42 });
  await root.patchRun();
  for (const tree of [root, child, waiting]) expectations.keep(tree);
}

async function otherProject() {
  const elsewhere = traced(
    "elsewhere",
    async (item) => {
      keep();
      return multiply({ a: item, b: 2 });
    },
    { project_name: `${PROJECT}-other` },
  );
  await elsewhere(21);
}

// Direct calls of the client: no trace id, no dotted order, one request each; times as numbers and as strings.

async function direct() {
  const start = "2024-05-06T07:08:09.123Z";
  const parent = await directRun("direct", start, null, { outputs: { done: true } });
  await directRun("direct child", Date.parse(start), parent, { error: "TimeoutError: late" });
}

async function directRun(name, start, parent, ending) {
  const id = uuid7();
  const end = "2024-05-06T07:08:11.124Z";
  const inputs = { text: GREETING };
  await client.createRun({
    id,
    name,
    inputs,
    run_type: "tool",
    start_time: start,
    project_name: PROJECT,
    ...(parent ? { parent_run_id: parent } : {}),
    extra: { metadata: { direct: true } },
  });
  await client.updateRun(id, { end_time: end, tags: ["late"], ...ending });
  expectations.expectRun({
    id,
    trace_id: parent ?? id,
    parent_run_id: parent,
    name,
    run_type: "tool",
    project: PROJECT,
    start_time: "2024-05-06T07:08:09.123Z",
    end_time: end,
    inputs,
    outputs: ending.outputs ?? null,
    error: ending.error ?? null,
    tags: ["late"],
    metadata: { direct: true },
    ...statuses({ error: ending.error, ended: true }),
  });
  return id;
}

// Feedback: in the background (it names its trace), directly, changed later.

const beRated = traced("rated", async () => {
  keep();
  return "rate me";
});

async function feedback() {
  let tree;
  await traced("rated above", async () => {
    tree = keep();
    return beRated();
  })();
  const runId = tree.id;
  await giveFeedback(runId, "background", { traceId: tree.trace_id, score: 0.75, comment: "très bien 👍", value: "good" });
  await giveFeedback(runId, "direct", { score: 1, correction: { output: "better" }, value: { grade: "A" } });
  await giveFeedback(runId, "boolean", { score: true, sourceInfo: { judge: "human" } });
  const given = await client.createFeedback(runId, "changed", { score: 0, comment: "first" });
  const change = { score: 0.5, comment: "second" };
  await client.updateFeedback(given.id, change);
  expectations.expectFeedback({ id: given.id, run_id: runId, key: "changed", ...change });
}

async function giveFeedback(runId, key, said) {
  const given = await client.createFeedback(runId, key, said);
  const { score, value, comment, correction } = said;
  expectations.expectFeedback({ id: given.id, run_id: runId, key, score, value, comment, correction });
}

await nested();
await streaming();
await failing();
await concurrent();
await values();
await attachments();
await runTrees();
await otherProject();
await direct();
await feedback();
await expectations.report(client, `langsmith-js/${__version__}`);
