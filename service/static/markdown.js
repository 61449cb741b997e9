// Markdown, as far as models write it, to elements. No markup of the text's own gets through: what is not understood
// here stays text. Images are not fetched and links lead to web pages and mail only.

import { PlainText } from "./long_text.js";
import { html } from "./view.js";

const CHARS_MAX = 60_000;
const DEPTH_MAX = 6;
const SAFE_ADDRESS = /^(https?:\/\/|mailto:)/i;

/** A text with its markdown shown, if it is of bearable length. */
export function Markdown({ text }) {
  if (text.length > CHARS_MAX) return html`<${PlainText} text=${text} />`;
  return html`<div class="markdown">${blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0)}</div>`;
}

/** An address that may be a link; null for any other. */
export function safeAddress(text) {
  const address = text.trim();
  if (!SAFE_ADDRESS.test(address)) return null;
  try {
    return new URL(address).href;
  } catch {
    return null;
  }
}

export function ExternalLink({ address, children }) {
  return html`<a href=${address} target="_blank" rel="noopener noreferrer nofollow">${children}</a>`;
}

function blocks(lines, depth) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    const [element, next] = block(lines, at, depth);
    if (element) found.push(element);
    at = next;
  }
  return found;
}

const STARTS = /^(\s{0,3}(#{1,6}\s|>|```|~~~|[-*+]\s|\d{1,9}[.)]\s|([-*_])(\s*\3){2,}\s*$)|\s*\|.*\|\s*$)/;

function block(lines, at, depth) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  const fence = /^\s{0,3}(```+|~~~+)\s*([\w+#.-]*)/.exec(line);
  if (fence) return fenced(lines, at, fence);
  const heading = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$/.exec(line);
  if (heading) return [html`<p class="heading heading-${heading[1].length}">${inline(heading[2])}</p>`, at + 1];
  if (/^\s{0,3}([-*_])(\s*\1){2,}\s*$/.test(line)) return [html`<hr />`, at + 1];
  if (depth < DEPTH_MAX && /^\s{0,3}>/.test(line)) return quoted(lines, at, depth);
  if (depth < DEPTH_MAX && LIST.test(line)) return listed(lines, at, depth);
  if (/^\s*\|.*\|\s*$/.test(line) && /^\s*\|(\s*:?-+:?\s*\|)+\s*$/.test(lines[at + 1] ?? "")) return table(lines, at);
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !STARTS.test(lines[end])) end += 1;
  return [html`<p>${inline(lines.slice(at, end).join("\n"))}</p>`, end];
}

function fenced(lines, at, [, mark, language]) {
  let end = at + 1;
  while (end < lines.length && !lines[end].trim().startsWith(mark)) end += 1;
  const code = lines.slice(at + 1, end).join("\n");
  return [html`<pre class="code" tabindex="0" data-language=${language}>${code}</pre>`, end + 1];
}

function quoted(lines, at, depth) {
  let end = at;
  while (end < lines.length && /^\s{0,3}>/.test(lines[end])) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(/^\s{0,3}>\s?/, ""));
  return [html`<blockquote>${blocks(inner, depth + 1)}</blockquote>`, end];
}

const LIST = /^(\s{0,9})([-*+]|\d{1,9}[.)])\s+(.*)$/;

function listed(lines, at, depth) {
  const [, indent, mark] = LIST.exec(lines[at]);
  const isOrdered = /\d/.test(mark);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const item = LIST.exec(lines[end]);
    if (item && item[1].length <= indent.length && /\d/.test(item[2]) === isOrdered) items.push([item[3]]);
    else if (items.length && (/^\s{2,}\S/.test(lines[end]) || (lines[end].trim() && !STARTS.test(lines[end])))) items.at(-1).push(lines[end].replace(/^\s{1,4}/, ""));
    else if (!lines[end].trim() && LIST.test(lines[end + 1] ?? "") && items.length) items.at(-1).push("");
    else break;
    end += 1;
  }
  const shown = items.map((inner) => html`<li>${tight(blocks(inner, depth + 1), inner)}</li>`);
  return [isOrdered ? html`<ol start=${parseInt(mark, 10)}>${shown}</ol>` : html`<ul>${shown}</ul>`, end];
}

/** An item of one line is shown without a paragraph around it. */
function tight(inner, lines) {
  return lines.filter((line) => line.trim()).length === 1 && !STARTS.test(lines[0]) ? inline(lines[0]) : inner;
}

function table(lines, at) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  let end = at + 2;
  while (end < lines.length && /^\s*\|.*\|\s*$/.test(lines[end])) end += 1;
  const rows = lines.slice(at + 2, end).map(cells);
  return [
    html`<div class="table-box" tabindex="0" role="group" aria-label="Table"><table><thead><tr>${cells(lines[at]).map((cell) => html`<th>${inline(cell)}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr>${row.map((cell) => html`<td>${inline(cell)}</td>`)}</tr>`)}</tbody></table></div>`,
    end,
  ];
}

const INLINE = /(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)|(!?)\[([^\]\n]{0,500})\]\(([^()\s]{1,2000})(?:\s+"[^"\n]*")?\)|\*\*(?=\S)([^*]+?)\*\*|__(?=\S)([^_]+?)__|(?<![\w*])\*(?=[^\s*])([^*\n]+?)\*(?!\w)|(?<!\w)_(?=[^\s_])([^_\n]+?)_(?!\w)|~~([^~\n]+)~~|(https?:\/\/[^\s<>()"'`]+[^\s<>()"'`.,;:!?])/g;

function inline(text) {
  const found = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > at) found.push(text.slice(at, match.index));
    found.push(inlineElement(match));
    at = match.index + match[0].length;
  }
  if (at < text.length) found.push(text.slice(at));
  return found;
}

function inlineElement([whole, , code, isImage, words, address, strong, strong2, soft, soft2, struck, bare]) {
  if (code !== undefined) return html`<code>${code.trim() ? code.replace(/^ (.*) $/s, "$1") : code}</code>`;
  if (address !== undefined) {
    const safe = safeAddress(address);
    if (!safe) return whole;
    return html`<${ExternalLink} address=${safe}>${isImage ? `Image: ${words || safe}` : inline(words)}<//>`;
  }
  if (strong ?? strong2) return html`<strong>${inline(strong ?? strong2)}</strong>`;
  if (soft ?? soft2) return html`<em>${inline(soft ?? soft2)}</em>`;
  if (struck) return html`<s>${inline(struck)}</s>`;
  const safe = safeAddress(bare);
  return safe ? html`<${ExternalLink} address=${safe}>${bare}<//>` : whole;
}
