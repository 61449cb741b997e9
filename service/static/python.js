// A run as lines of Python: how to read it again, and its inputs as they were.

import { ExactNumber, key } from "./api.js";

const LITERAL_CHARS_MAX = 50_000;

export function asPython(run) {
  const access = key.value ? `api_url="${location.origin}/api/v1", api_key="..."` : `api_url="${location.origin}/api/v1"`;
  const literal = literalOf(run.inputs);
  const inputs = literal.length <= LITERAL_CHARS_MAX ? `inputs = ${literal}` : "inputs = run.inputs";
  return `from langsmith import Client

client = Client(${access})
run = client.read_run("${run.id}")

${inputs}
`;
}

/** A JSON value as Python writes it. */
export function literalOf(value, indent = "") {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (value instanceof ExactNumber || typeof value === "number") return String(value);
  if (typeof value === "string") return pythonString(value);
  const deeper = `${indent}    `;
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const items = Array.isArray(value)
    ? value.map((item) => literalOf(item, deeper))
    : Object.entries(value).map(([name, item]) => `${pythonString(name)}: ${literalOf(item, deeper)}`);
  return items.length ? `${open}\n${items.map((item) => `${deeper}${item},\n`).join("")}${indent}${close}` : open + close;
}

/** JSON's escapes are Python's too, but for half of a surrogate pair, which both then write as it is. */
function pythonString(text) {
  return JSON.stringify(text).replace(/\u007f/g, "\\u007f");
}
