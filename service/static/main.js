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
const PATIENCE_MS = 100;
const UUID = "[0-9a-fA-F-]{32,36}";
// Which page is at an address, and with what of it.
const ROUTES = [
  [/^\/(?:ui|ui\/traces)?$/, TracesPage, () => ({})],
  [new RegExp(`^/ui/traces/(${UUID})$`), TracePage, (id) => ({ key: id, id })],
  [new RegExp(`^/ui/compare/(${UUID})/(${UUID})$`), ComparePage, (...ids) => ({ key: ids.join(), ids })],
  [/^\/ui\/overview$/, OverviewPage, () => ({})],
  [/^\/ui\/operations$/, OperationsPage, () => ({})],
  [new RegExp(`^/ui/runs/(${UUID})$`), LinkPage, (id) => ({ key: id, runId: id })],
  [new RegExp(`^/o/[^/]+/projects/p/(${UUID})$`), LinkPage, (id) => ({ key: id, projectId: id })],
  [new RegExp(`^/o/[^/]+/projects/p/${UUID}/r/(${UUID})$`), LinkPage, (id) => ({ key: id, runId: id })],
  [new RegExp(`^(?:/api(?:/v1)?)?/public/(${UUID})/r$`), SharedPage, (token) => ({ key: token, token })],
];

function Page() {
  useStore(place);
  useStore(remembered); // The zone of times.
  const { Shown, properties } = routed(place.path);
  return html`<${Shown} ...${properties} />`;
}

function routed(path) {
  for (const [pattern, Shown, propertiesOf] of ROUTES) {
    const found = pattern.exec(path);
    if (found) return { Shown, properties: propertiesOf(...found.slice(1)) };
  }
  return { Shown: NotFound, properties: {} };
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

/** Resolves when the module of the page and what it shows first have come; or when they have taken their time. */
function readyToDraw() {
  const { Shown } = routed(place.path);
  const needed = [Shown.load?.(), window.firstRequest?.answer.catch(() => {})];
  return Promise.race([Promise.all(needed), new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
}

addEventListener("load", fetchAhead, { once: true });
// To draw once what is there soon takes less than to draw a page without anything, and then all of it anew.
await readyToDraw();
render(html`<${Frame}><${Page} /><//>`, document.getElementById("app"));
