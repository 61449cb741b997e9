// Copying to the clipboard, and saying that it was done.

import { Icon } from "./icons.js";
import { classes, html, useState } from "./view.js";

const SHOWN_MS = 1500;

/** Copies a text. Without a clipboard, as on plain http from afar, the browser's old way. */
export async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "off-screen";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/** A button that copies what `text` gives: a text, or a function or promise of one. */
export function CopyButton({ text, label, words = null, class: className = "" }) {
  const [state, setState] = useState(null);
  const press = async (event) => {
    event.stopPropagation();
    try {
      await copy(await (typeof text === "function" ? text() : text));
      setState("Copied");
    } catch {
      setState("Not copied");
    }
    setTimeout(() => setState(null), SHOWN_MS);
  };
  return html`<button type="button" class=${classes("quiet copy", className)} onClick=${press} aria-label=${label} title=${label}>
    <${Icon} name=${state === "Copied" ? "completed" : "copy"} size=${14} />
    ${words ? html`<span>${state ?? words}</span>` : null}
    <span class="unseen" role="status">${state ?? ""}</span>
  </button>`;
}
