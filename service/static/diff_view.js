// How two values differ, in lines.

import { exactJson, local, request } from "./api.js";
import { difference } from "./diff.js";
import { Problem } from "./frame.js";
import { bytes } from "./numbers.js";
import { html, useMemo, useState } from "./view.js";

const SIGNS = { added: "+", removed: "−", same: " ", skipped: "…" };

/**
 * Two values and what differs between them. Each is {value}, or {url, preview, size} when it is stored by itself and so
 * large that it is only read on demand, or null for none.
 */
export function Difference({ before, after }) {
  const [whole, setWhole] = useState(null);
  const large = [before, after].filter((value) => value?.url);
  if (large.length && !whole) {
    const load = () => Promise.all([textOf(before), textOf(after)]).then(([from, to]) => setWhole({ from, to }), (error) => setWhole({ error }));
    return html`<p class="more">${large.map((value) => html`<span class="snip">${value.preview}</span>`)}<button type="button" onClick=${load}>Compare ${bytes(large.reduce((sum, value) => sum + value.size, 0))}</button></p>`;
  }
  if (whole?.error) return html`<${Problem} error=${whole.error} />`;
  return html`<${Lines} ...${whole ?? { from: pretty(before), to: pretty(after) }} />`;
}

function Lines({ from, to }) {
  const stretches = useMemo(() => difference(from, to), [from, to]);
  return html`<pre class="diff" tabindex="0">${stretches.map(([kind, lines]) => html`<span class="diff-${kind}">${lines.map((line) => `${SIGNS[kind]} ${line}\n`).join("")}</span>`)}</pre>`;
}

async function textOf(told) {
  return told?.url ? pretty({ value: exactJson(await (await request(local(told.url))).text()) }) : pretty(told);
}

/** A value in lines that can be compared: a text as it is, anything else as JSON in which texts keep their lines. */
export function pretty(told) {
  if (told === null) return null;
  if (typeof told.value === "string") return told.value;
  return JSON.stringify(told.value, null, 2).replace(/(?<!\\)((?:\\\\)*)\\n/g, "$1\n");
}
