import { html } from "./view.js";
export function OperationsPage() { return html`<div class="empty"><h1>Operations</h1></div>`; }
