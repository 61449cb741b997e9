// Where the viewer is: the page's address, which holds all that a shared link has to say.

import { Store } from "./view.js";

class Place extends Store {
  constructor() {
    super();
    addEventListener("popstate", () => this.changed());
    document.addEventListener("click", (event) => this.#follow(event));
  }

  get path() {
    return decodeURI(location.pathname).replace(/\/+$/, "") || "/";
  }

  get parameters() {
    return new URLSearchParams(location.search);
  }

  /** Goes to an address of this site, without loading the document anew. */
  go(href, { replace = false } = {}) {
    const target = new URL(href, location.href);
    if (target.href === location.href) return;
    history[replace ? "replaceState" : "pushState"](null, "", target);
    this.changed();
  }

  /** Changes some parameters; those that are null or empty go. */
  set(changes, { replace = false } = {}) {
    const parameters = this.parameters;
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === undefined || value === "") parameters.delete(name);
      else parameters.set(name, value);
    }
    const query = parameters.toString();
    this.go(location.pathname + (query ? `?${query}` : ""), { replace });
  }

  #follow(event) {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest?.("a[href]");
    if (!link || link.hasAttribute("target") || link.hasAttribute("download")) return;
    const target = new URL(link.getAttribute("href"), location.href);
    if (target.origin !== location.origin || !isPage(target.pathname) || target.hash) return;
    event.preventDefault();
    this.go(target);
  }
}

function isPage(path) {
  return path === "/" || /^\/(ui|o)(\/|$)/.test(path);
}

export const place = new Place();

/** The address of a trace's page; of a run in it if one is given. */
export function traceHref(traceId, runId = null) {
  return `/ui/traces/${traceId}${runId && runId !== traceId ? `?run=${runId}` : ""}`;
}

/** The address of the list of traces under some filters. */
export function tracesHref(filters = {}) {
  const given = Object.entries(filters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  return query ? `/?${query}` : "/";
}
