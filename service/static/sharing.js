// Sharing a trace: whoever has the link reads it without a key.

import { get, request, ROOT, send } from "./api.js";
import { CopyButton } from "./copying.js";
import { Dialog, Problem } from "./frame.js";
import { Icon } from "./icons.js";
import { html, useEffect, useState } from "./view.js";

/** A button for a question: whether this trace is to be shared, and by which link it is. */
export function ShareButton({ runId }) {
  const [isOpen, setOpen] = useState(false);
  return html`<button type="button" class="quiet with-icon" aria-haspopup="dialog" onClick=${() => setOpen(true)}><${Icon} name="link" size=${14} /><span>Share</span></button>
    ${isOpen ? html`<${ShareDialog} runId=${runId} close=${() => setOpen(false)} />` : null}`;
}

function ShareDialog({ runId, close }) {
  const path = `/runs/${runId}/share`;
  const { token, error, isBusy, does } = useShare(() => get(path));
  const share = () => does(() => send("PUT", path));
  const unshare = () => does(() => request(ROOT + path, { method: "DELETE" }).then(() => null));
  return html`<${Dialog} title="Share this trace" close=${close}>
    ${token ? html`<p>Everyone who has this link can read the whole trace, without a key, until you take it back.</p><${ShareLink} token=${token} />` : html`<p>A link will let everyone who has it read the whole trace, its inputs and outputs included, without a key. You can take it back at any time.</p>`}
    ${error ? html`<${Problem} error=${error} />` : null}
    <p class="share-tools">${token ? html`<button type="button" disabled=${isBusy} onClick=${unshare}>Unshare</button>` : html`<button type="button" class="primary" disabled=${isBusy || token === undefined} onClick=${share}>Share</button>`}</p>
  <//>`;
}

/** The token of a share: undefined until it is known, null for none. `does` takes over what some work answers. */
function useShare(read) {
  const [state, setState] = useState({ token: undefined, error: null, isBusy: false });
  const does = async (work) => {
    setState((old) => ({ ...old, error: null, isBusy: true }));
    try {
      const answer = await work();
      setState({ token: answer?.share_token ?? null, error: null, isBusy: false });
    } catch (error) {
      setState((old) => ({ ...old, error, isBusy: false }));
    }
  };
  useEffect(() => { does(read); }, []);
  return { ...state, does };
}

function ShareLink({ token }) {
  const href = `${location.origin}/public/${token}/r`;
  return html`<div class="share-link"><label class="field"><span>Link</span><input readonly value=${href} onFocus=${(event) => event.target.select()} /></label>
    <${CopyButton} text=${href} label="Copy the link" words="Copy" /></div>`;
}
