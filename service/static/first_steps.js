// What an empty store shows: how to send the first trace to exactly this server.

import { key } from "./api.js";
import { CopyButton } from "./copying.js";
import { html, useState } from "./view.js";

const PYTHON = `from langsmith import traceable

@traceable
def greet(name: str) -> str:
    return f"Hello, {name}!"

greet("world")`;
const JAVASCRIPT = `import { traceable } from "langsmith/traceable";

const greet = traceable(async (name) => \`Hello, \${name}!\`, { name: "greet" });
await greet("world");`;

function environment(endpoint) {
  const lines = [`export LANGSMITH_ENDPOINT=${endpoint}`, "export LANGSMITH_TRACING=true"];
  if (key.value) lines.push("export LANGSMITH_API_KEY=<one of this server's keys>");
  return lines.join("\n");
}

function curl(endpoint) {
  const header = key.value ? " -H 'x-api-key: <key>'" : "";
  return `curl ${endpoint}/runs/batch${header} -H 'Content-Type: application/json' -d '{"post": [{
  "id": "'$(uuidgen)'", "name": "greet", "run_type": "chain",
  "inputs": {"name": "world"}, "outputs": {"output": "Hello, world!"},
  "start_time": "'$(date -u +%FT%TZ)'", "end_time": "'$(date -u +%FT%TZ)'"}]}'`;
}

const WAYS = {
  Python: (endpoint) => [["In the shell", `pip install langsmith\n${environment(endpoint)}`], ["greet.py", PYTHON]],
  JavaScript: (endpoint) => [["In the shell", `npm install langsmith\n${environment(endpoint)}`], ["greet.mjs", JAVASCRIPT]],
  "LangChain, LangGraph": (endpoint) => [["In the shell, before your program starts: nothing else is needed", environment(endpoint)]],
  "No SDK": (endpoint) => [["In the shell", curl(endpoint)]],
};

export function FirstSteps() {
  const [way, setWay] = useState("Python");
  const endpoint = `${location.origin}/api/v1`;
  return html`<section class="first-steps">
    <h1>No traces yet</h1>
    <p>Point a LangSmith SDK at <code>${endpoint}</code>. The first trace appears here by itself.</p>
    <div class="segments" role="group" aria-label="How to send">${Object.keys(WAYS).map(
      (name) => html`<button type="button" key=${name} aria-pressed=${name === way} onClick=${() => setWay(name)}>${name}</button>`,
    )}</div>
    ${WAYS[way](endpoint).map(
      ([words, lines]) => html`<figure class="snippet" key=${way + words}><figcaption>${words}<${CopyButton} text=${lines} label=${`Copy: ${words}`} words="Copy" /></figcaption>
        <pre tabindex="0">${lines}</pre></figure>`,
    )}
    <p class="waiting" role="status"><span class="live-dot" aria-hidden="true"></span>Waiting for the first trace</p>
  </section>`;
}
