import { html } from "./view.js";
export function OverviewPage() { return html`<div class="empty"><h1>Overview</h1></div>`; }
