import { html } from "./view.js";
export function History() { return html`<p class="note">History</p>`; }
