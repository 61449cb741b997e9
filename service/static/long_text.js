// Texts of any length: a beginning, and more of it on demand. The document never holds all of a text that is huge.

import { CopyButton } from "./copying.js";
import { bytes } from "./numbers.js";
import { html, useState } from "./view.js";

const FIRST_CHARS = 4_000;
const SLACK_CHARS = 500;
const NEXT_CHARS = 50_000;
const PIECE_CHARS = 10_000;

/** A text as it is, in lines. */
export function PlainText({ text, class: className = "" }) {
  const [shown, setShown] = useState(FIRST_CHARS);
  const isWhole = text.length <= shown + SLACK_CHARS;
  if (isWhole && text.length <= PIECE_CHARS) return html`<pre class="text ${className}">${text}</pre>`;
  const pieces = [];
  const end = isWhole ? text.length : shown;
  // In pieces, so that a browser lays out only those that can be seen.
  for (let at = 0; at < end; at += PIECE_CHARS) pieces.push(text.slice(at, Math.min(at + PIECE_CHARS, end)));
  return html`<div class="long-text ${className}">
    <pre class="text">${pieces.map((piece, i) => html`<span key=${i}>${piece}</span>`)}</pre>
    ${isWhole ? null : html`<p class="more"><button type="button" onClick=${() => setShown(shown + NEXT_CHARS)}>Show more</button>
      <span>${bytes(text.length - shown)} of ${bytes(text.length)} more</span><${CopyButton} text=${text} label="Copy all of the text" words="Copy all" /></p>`}
  </div>`;
}
