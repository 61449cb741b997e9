// Parts of the pages whose modules are fetched when they are first shown.

import { Problem } from "./frame.js";
import { html, useMemo, useState } from "./view.js";

const NOT_FETCHED = new Error("This part of the page could not be fetched.");

/** A component that is the export `name` of the module that `load` imports. Its own `load` fetches that ahead. */
export function later(load, name) {
  let Loaded = null;
  const fetched = () => load().then((module) => { Loaded = module[name]; });
  function Later(props) {
    const [error, setError] = useState(null);
    useMemo(() => {
      if (!Loaded) fetched().then(() => setError(undefined), () => setError(NOT_FETCHED));
    }, []);
    if (Loaded) return html`<${Loaded} ...${props} />`;
    // A module that was not there is not asked for again by the same document.
    return error ? html`<${Problem} error=${error} retry=${() => location.reload()} />` : null;
  }
  Later.load = () => fetched().catch(() => {});
  return Later;
}
