// Chat messages in the shapes that clients send: LangChain's, OpenAI's, Anthropic's and Google's, to one.

const ROLES = {
  human: "user", user: "user", ai: "assistant", assistant: "assistant", model: "assistant", system: "system",
  developer: "system", tool: "tool", function: "tool", chat: "user", AIMessageChunk: "assistant", HumanMessageChunk: "user",
};
const CLASSES = /(Human|AI|System|Tool|Function|Chat)Message(Chunk)?$/;
const IMAGE_TYPE = /^image\/(png|jpe?g|gif|webp|avif|bmp|svg\+xml)$/i;
const MESSAGES_MAX = 1000;

/**
 * The messages in a run's inputs or outputs, and what else is beside them; null when there are none.
 *
 * A message is {role, name, parts, calls, callId}: a part is {kind: "text" | "thinking" | "image" | "link" | "json"},
 * a call {id, name, args}.
 */
export function messagesOf(value) {
  const found = find(value);
  if (!found || !found.messages.length || found.messages.length > MESSAGES_MAX) return null;
  return { messages: found.messages.map(message), rest: found.rest };
}

function find(value) {
  if (Array.isArray(value)) return listOf(value);
  if (!isObject(value)) return null;
  for (const [name, take] of Object.entries(PLACES)) {
    const list = name in value ? take(value[name]) : null;
    if (list?.length) return { messages: list, rest: without(value, name) };
  }
  return isMessage(value) ? { messages: [value], rest: {} } : null;
}

const many = (value) => listOf(value)?.messages;
const one = (value) => (isObject(value) && isMessage(value) ? [value] : many(value));
const PLACES = {
  messages: one,
  generations: (value) => Array.isArray(value) && value.flat().every(isObject) && value.flat().map((made) => made.message ?? { role: "assistant", content: made.text }),
  choices: (value) => Array.isArray(value) && value.every((choice) => isObject(choice?.message)) && value.map((choice) => choice.message),
  candidates: (value) => Array.isArray(value) && value.every((made) => isObject(made?.content)) && value.map((made) => made.content),
  contents: many,
  message: one,
  input: one,
  output: one,
  chat_history: many,
};

function listOf(value) {
  if (!Array.isArray(value) || !value.length) return null;
  if (value.length === 1 && Array.isArray(value[0]) && !isPair(value[0])) return listOf(value[0]);
  return value.every((item) => isMessage(item) || isPair(item)) ? { messages: value, rest: {} } : null;
}

function isPair(item) {
  return Array.isArray(item) && item.length === 2 && typeof item[0] === "string" && item[0] in ROLES && typeof item[1] === "string";
}

function isMessage(item) {
  if (!isObject(item)) return false;
  if (isSerialized(item)) return CLASSES.test(item.id.at(-1));
  if (item.type === "function_call" || item.type === "function_call_output") return typeof item.call_id === "string";
  const role = item.role ?? item.type;
  return typeof role === "string" && role in ROLES && ("content" in item || "parts" in item || "tool_calls" in item);
}

function isSerialized(item) {
  return item.lc === 1 && Array.isArray(item.id) && typeof item.id.at(-1) === "string" && isObject(item.kwargs);
}

function message(item) {
  if (Array.isArray(item)) return made(ROLES[item[0]], { parts: parts(item[1]) });
  if (isSerialized(item)) return message({ type: roleOfClass(item.id.at(-1)), ...item.kwargs });
  if (item.type === "function_call") return made("assistant", { calls: [callOf(item)] });
  if (item.type === "function_call_output") return made("tool", { parts: parts(item.output), callId: item.call_id });
  const content = item.content ?? item.parts;
  const blocks = Array.isArray(content) ? content : [];
  const results = blocks.find((block) => block?.type === "tool_result");
  const role = results ? "tool" : ROLES[item.role ?? item.type] ?? String(item.role ?? item.type);
  const calls = [...toArray(item.tool_calls), ...toArray(item.invalid_tool_calls), ...blocks.filter(isCall)].map(callOf);
  return made(role, {
    name: typeof item.name === "string" ? item.name : null,
    parts: [...parts(item.reasoning_content, "thinking"), ...parts(content), ...parts(item.refusal)],
    calls: distinct(calls.length ? calls : toArray(item.additional_kwargs?.tool_calls).map(callOf)),
    callId: item.tool_call_id ?? results?.tool_use_id ?? null,
  });
}

function made(role, more) {
  return { role, name: null, parts: [], calls: [], callId: null, ...more };
}

function roleOfClass(name) {
  return { Human: "human", AI: "ai", System: "system", Tool: "tool", Function: "tool", Chat: "user" }[CLASSES.exec(name)[1]];
}

function isCall(block) {
  return isObject(block) && (block.type === "tool_use" || block.type === "tool_call" || isObject(block.functionCall));
}

function callOf(call) {
  const made = call.function ?? call.functionCall ?? call;
  return { id: call.id ?? call.call_id ?? null, name: String(made.name ?? "(no name)"), args: parsed(made.arguments ?? made.args ?? made.input) };
}

/** The same call may be told twice: in the content, and beside it. */
function distinct(calls) {
  const seen = new Set();
  return calls.filter((call) => call.id === null || (!seen.has(call.id) && seen.add(call.id)));
}

function parts(content, kind = "text") {
  if (content === null || content === undefined || content === "") return [];
  if (typeof content === "string") return [{ kind, text: content }];
  if (!Array.isArray(content)) return [{ kind: "json", value: content }];
  return content.filter((block) => !isCall(block)).flatMap(part);
}

function part(block) {
  if (typeof block === "string") return parts(block);
  if (!isObject(block)) return [{ kind: "json", value: block }];
  if (block.type === "tool_result") return parts(block.content);
  if (block.type === "thinking" || block.type === "reasoning") return parts(block.thinking ?? block.text ?? block.reasoning, "thinking");
  if (typeof block.text === "string") return parts(block.text, block.thought ? "thinking" : "text");
  const image = imageOf(block);
  return [image ?? { kind: "json", value: block }];
}

/** An image that is in the message itself; of one elsewhere only the address, which nobody fetches. */
function imageOf(block) {
  const data = block.inlineData ?? block.inline_data ?? block.source ?? block;
  const type = data.media_type ?? data.mime_type ?? data.mimeType;
  if (typeof data.data === "string" && IMAGE_TYPE.test(type ?? "")) return { kind: "image", source: `data:${type};base64,${data.data}` };
  const url = typeof block.image_url === "string" ? block.image_url : block.image_url?.url ?? (block.type === "image" ? block.url ?? data.url : null);
  if (typeof url !== "string") return null;
  return isImageData(url) ? { kind: "image", source: url } : { kind: "link", address: url };
}

export function isImageData(url) {
  const found = /^data:([\w/+.-]+);base64,/i.exec(url);
  return found !== null && IMAGE_TYPE.test(found[1]);
}

/** Documents of a retriever and what else is beside them; null when there are none. */
export function documentsOf(value) {
  const places = Array.isArray(value) ? [[null, value]] : isObject(value) ? ["documents", "output", "docs"].map((name) => [name, value[name]]) : [];
  for (const [name, list] of places) {
    const flat = Array.isArray(list) ? list.flat() : [];
    if (flat.length && flat.every((item) => isObject(item) && documentText(item) !== null)) {
      return { documents: flat.map(documentOf), rest: name === null ? {} : without(value, name) };
    }
  }
  return null;
}

function documentOf(item) {
  const inner = isSerialized(item) ? item.kwargs : item;
  return { text: documentText(item), metadata: inner.metadata ?? {}, score: inner.score ?? inner.metadata?.score ?? null };
}

function documentText(item) {
  const inner = isSerialized(item) ? item.kwargs : item;
  const text = inner.page_content ?? inner.pageContent;
  return typeof text === "string" ? text : null;
}

function parsed(value) {
  if (typeof value !== "string") return value ?? {};
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function toArray(value) {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function without(value, name) {
  return Object.fromEntries(Object.entries(value).filter(([key, inner]) => key !== name && inner !== null && inner !== undefined));
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
