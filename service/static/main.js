// Which page an address shows.

import { Frame } from "./frame.js";
import { later } from "./later.js";
import { place } from "./place.js";
import { remembered } from "./remembered.js";
import { html, render, useStore, useTitle } from "./view.js";

const TracesPage = later(() => import("./traces.js"), "TracesPage");
const TracePage = later(() => import("./trace.js"), "TracePage");
const SharedPage = later(() => import("./trace.js"), "SharedPage");
const OverviewPage = later(() => import("./overview.js"), "OverviewPage");
const ComparePage = later(() => import("./compare.js"), "ComparePage");
const OperationsPage = later(() => import("./operations.js"), "OperationsPage");
const LinkPage = later(() => import("./links.js"), "LinkPage");

const AHEAD_MS = 2000;
const UUID = "[0-9a-fA-F-]{32,36}";
const ROUTES = [
  [/^\/(?:ui|ui\/traces)?$/, () => html`<${TracesPage} />`],
  [new RegExp(`^/ui/traces/(${UUID})$`), (id) => html`<${TracePage} key=${id} id=${id} />`],
  [new RegExp(`^/ui/compare/(${UUID})/(${UUID})$`), (...ids) => html`<${ComparePage} key=${ids.join()} ids=${ids} />`],
  [/^\/ui\/overview$/, () => html`<${OverviewPage} />`],
  [/^\/ui\/operations$/, () => html`<${OperationsPage} />`],
  [new RegExp(`^/ui/runs/(${UUID})$`), (id) => html`<${LinkPage} key=${id} runId=${id} />`],
  [new RegExp(`^/o/[^/]+/projects/p/(${UUID})$`), (id) => html`<${LinkPage} key=${id} projectId=${id} />`],
  [new RegExp(`^/o/[^/]+/projects/p/${UUID}/r/(${UUID})$`), (id) => html`<${LinkPage} key=${id} runId=${id} />`],
  [new RegExp(`^(?:/api(?:/v1)?)?/public/(${UUID})/r$`), (token) => html`<${SharedPage} key=${token} token=${token} />`],
];

function Page() {
  useStore(place);
  useStore(remembered); // The zone of times.
  for (const [pattern, show] of ROUTES) {
    const found = pattern.exec(place.path);
    if (found) return show(...found.slice(1));
  }
  return html`<${NotFound} />`;
}

function NotFound() {
  useTitle("No such page");
  return html`<div class="empty"><h1>There is no such page</h1><p><code>${place.path}</code></p><p><a href="/">Go to the traces</a></p></div>`;
}

/** Fetches the other pages when there is nothing else to do, so that they open at once. */
function fetchAhead() {
  const pages = [TracesPage, TracePage, OverviewPage, OperationsPage];
  setTimeout(() => pages.forEach((page) => page.load()), AHEAD_MS);
}

addEventListener("load", fetchAhead, { once: true });
render(html`<${Frame}><${Page} /><//>`, document.getElementById("app"));
