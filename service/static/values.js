// Inputs and outputs as people read them; anything else as JSON.

import { exactJson, ExactNumber, local, request } from "./api.js";
import { brief, briefList } from "./brief.js";
import { Icon } from "./icons.js";
import { JsonView } from "./json_view.js";
import { PlainText } from "./long_text.js";
import { ExternalLink, Markdown, safeAddress } from "./markdown.js";
import { documentsOf, isImageData, messagesOf } from "./messages.js";
import { bytes, counted } from "./numbers.js";
import { html, useState } from "./view.js";

const FIELDS_MAX = 12;
const NESTED_MAX = 3;
const CLIPPED_CHARS = 1500;
const LIKE_MARKDOWN = /(^|\n)\s{0,3}(#{1,6} |[-*+] |\d+[.)] |> |```|\|.*\|)|\*\*\S|`[^`\n]+`|\[[^\]\n]+\]\(https?:/;

/** A member of a run, under its name. `place` says where a value is that is too large to come with the run. */
export function ValueSection({ title, value, place = null }) {
  const [isRaw, setRaw] = useState(false);
  const [loaded, setLoaded] = useState(null);
  const shown = loaded ? loaded.value : value;
  const isThere = loaded !== null || place === null;
  return html`<section class="section" aria-label=${title}>
    <header class="section-head"><h3>${title}</h3>
      ${isThere && !isEmpty(shown) ? html`<div class="segments small" role="group" aria-label=${`${title}: how to show`}>
        <button type="button" aria-pressed=${!isRaw} onClick=${() => setRaw(false)}>Read</button>
        <button type="button" aria-pressed=${isRaw} onClick=${() => setRaw(true)}>JSON</button></div>` : null}
    </header>
    ${isThere ? null : html`<${Elsewhere} place=${place} onLoad=${(got) => setLoaded({ value: got })} />`}
    ${isThere ? (isEmpty(shown) ? html`<p class="nothing">Nothing</p>` : isRaw ? html`<${JsonView} value=${shown} label=${title.toLowerCase()} />` : html`<${Value} value=${shown} />`) : null}
  </section>`;
}

export function isEmpty(value) {
  return value === null || value === undefined || value === "" || (typeof value === "object" && !(value instanceof ExactNumber) && Object.keys(value).length === 0);
}

/** A value that is stored beside the log: its beginning, and all of it on demand. */
function Elsewhere({ place, onLoad }) {
  const [state, setState] = useState(null);
  const load = async () => {
    setState("Loading…");
    try {
      onLoad(exactJson(await (await request(local(place.url))).text()));
    } catch (error) {
      setState(error.message);
    }
  };
  return html`<pre class="text">${place.preview}…</pre>
    <p class="more"><button type="button" onClick=${load}>Load all ${bytes(place.size)}</button><a class="button" href=${local(place.url)} download>Save as a file</a><span role="status">${state}</span></p>`;
}

/** A value in the best form that is known for it. */
export function Value({ value, level = 0 }) {
  if (isEmpty(value)) return html`<p class="nothing">${value === "" ? "Empty text" : "Nothing"}</p>`;
  if (typeof value === "string") return html`<${TextValue} text=${value} />`;
  if (typeof value !== "object" || value instanceof ExactNumber) return html`<p class="scalar">${String(value)}</p>`;
  const chat = messagesOf(value);
  if (chat) return html`<${Messages} messages=${chat.messages} /><${Rest} rest=${chat.rest} level=${level} />`;
  const shelf = documentsOf(value);
  if (shelf) return html`<${Documents} documents=${shelf.documents} /><${Rest} rest=${shelf.rest} level=${level} />`;
  const names = Object.keys(value);
  if (Array.isArray(value) || names.length > FIELDS_MAX || level >= NESTED_MAX) return html`<${JsonView} value=${value} label="value" />`;
  if (names.length === 1 && level === 0 && typeof value[names[0]] === "string") return html`<${TextValue} text=${value[names[0]]} />`;
  return html`<${Fields} value=${value} level=${level} />`;
}

function Fields({ value, level }) {
  return html`<dl class="fields">${Object.entries(value).map(
    ([name, inner]) => html`<div key=${name}><dt>${brief(name)}</dt><dd><${Value} value=${inner} level=${level + 1} /></dd></div>`,
  )}</dl>`;
}

function Rest({ rest, level }) {
  const names = Object.keys(rest);
  if (!names.length) return null;
  return html`<details class="rest"><summary>${briefList(names)}</summary>${names.length > FIELDS_MAX || level ? html`<${JsonView} value=${rest} label="the rest" />` : html`<${Fields} value=${rest} level=${1} />`}</details>`;
}

export function TextValue({ text }) {
  if (isImageData(text)) return html`<${Picture} source=${text} words="Image in the text" />`;
  const structure = structureOf(text);
  if (structure) return html`<${JsonView} value=${structure} label="text" />`;
  return html`<${Clipped} text=${text}>${LIKE_MARKDOWN.test(text.slice(0, 20_000)) ? html`<${Markdown} text=${text} />` : html`<${PlainText} text=${text} class="prose" />`}<//>`;
}

/** Texts that are long, but not very long, are folded; very long ones fold themselves. */
function Clipped({ text, children }) {
  const [isWhole, setWhole] = useState(text.length <= CLIPPED_CHARS);
  if (isWhole) return children;
  return html`<div class="clipped">${children}</div><button type="button" class="quiet unclip" onClick=${() => setWhole(true)}>Show all (${bytes(text.length)})</button>`;
}

function structureOf(text) {
  const start = text.trimStart()[0];
  if ((start !== "{" && start !== "[") || text.length > 1_000_000) return null;
  try {
    const value = exactJson(text);
    return typeof value === "object" && !isEmpty(value) ? value : null;
  } catch {
    return null;
  }
}

const ROLE_WORDS = { user: "User", assistant: "Assistant", system: "System", tool: "Tool" };

function Messages({ messages }) {
  return html`<ol class="messages">${messages.map(
    (message, i) => html`<li key=${i} class=${`message role-${ROLE_WORDS[message.role] ? message.role : "other"}`}>
      <header><span class="role">${ROLE_WORDS[message.role] ?? brief(message.role)}</span>${message.name ? html`<code>${brief(message.name)}</code>` : null}
        ${message.callId ? html`<span class="call-id" title="The call that this answers">${brief(message.callId)}</span>` : null}</header>
      ${message.parts.map((part, n) => html`<${Part} key=${n} part=${part} />`)}
      ${message.calls.map((call, n) => html`<${Call} key=${n} call=${call} />`)}
      ${message.parts.length || message.calls.length ? null : html`<p class="nothing">Empty</p>`}
    </li>`,
  )}</ol>`;
}

function Part({ part }) {
  switch (part.kind) {
    case "text": return html`<${TextValue} text=${part.text} />`;
    case "thinking": return html`<details class="thinking"><summary>Thinking</summary><${TextValue} text=${part.text} /></details>`;
    case "image": return html`<${Picture} source=${part.source} words="Image in the message" />`;
    case "link": return html`<p class="outside">Image elsewhere, not fetched: ${safeAddress(part.address) ? html`<${ExternalLink} address=${safeAddress(part.address)}>${part.address}<//>` : html`<code>${part.address.slice(0, 300)}</code>`}</p>`;
    default: return html`<${JsonView} value=${part.value} label="part" />`;
  }
}

function Call({ call }) {
  return html`<div class="call"><header><${Icon} name="tool" size=${13} /><code>${brief(call.name)}</code>${call.id ? html`<span class="call-id">${brief(call.id)}</span>` : null}</header>
    ${isEmpty(call.args) ? html`<p class="nothing">No arguments</p>` : typeof call.args === "string" ? html`<${PlainText} text=${call.args} />` : html`<${Arguments} args=${call.args} />`}</div>`;
}

/** Arguments that are short and flat one by one; others as JSON. */
function Arguments({ args }) {
  const isFlat = !Array.isArray(args) && Object.keys(args).length <= FIELDS_MAX && Object.values(args).every((value) => value === null || typeof value !== "object" || value instanceof ExactNumber);
  if (!isFlat) return html`<${JsonView} value=${args} label="arguments" />`;
  return html`<dl class="arguments">${Object.entries(args).map(([name, value]) => html`<div key=${name}><dt>${brief(name)}</dt><dd><${PlainText} text=${typeof value === "string" ? value : String(value)} /></dd></div>`)}</dl>`;
}

function Documents({ documents }) {
  return html`<div class="documents"><p class="documents-count">${counted(documents.length, "document")}</p><ol>${documents.map(
    (document, i) => html`<li key=${i}><header><span class="place">${i + 1}</span>${document.score === null ? null : html`<span class="score">${Number(document.score).toFixed(3)}</span>`}
      ${Object.entries(document.metadata).filter(([name, value]) => typeof value !== "object" && name !== "score").slice(0, 6).map(([name, value]) => html`<span class="pair"><b>${brief(name)}</b>${brief(value)}</span>`)}</header>
      <${TextValue} text=${document.text} /></li>`,
  )}</ol></div>`;
}

export function Picture({ source, words }) {
  const [isBroken, setBroken] = useState(false);
  if (isBroken) return html`<p class="nothing">${words}: it cannot be shown</p>`;
  return html`<img class="picture" src=${source} alt=${words} loading="lazy" decoding="async" onError=${() => setBroken(true)} />`;
}
