// The addresses that SDKs print: they lead on to the page that is meant.

import { get } from "./api.js";
import { Problem } from "./frame.js";
import { place, traceHref, tracesHref } from "./place.js";
import { html, useEffect, useState, useTitle } from "./view.js";

async function target({ runId, projectId }) {
  if (projectId) return tracesHref({ project: (await get(`/sessions/${projectId}`)).name });
  const run = await get(`/runs/${runId}`);
  return traceHref(run.trace_id, run.id);
}

export function LinkPage(link) {
  const [error, setError] = useState(null);
  const [attempt, setAttempt] = useState(0);
  useTitle("");
  useEffect(() => {
    setError(null);
    target(link).then((href) => place.go(href, { replace: true }), setError);
  }, [link.runId, link.projectId, attempt]);
  if (!error) return html`<p class="loading" role="status">Looking it up…</p>`;
  return html`<div class="empty"><h1>Not here</h1><${Problem} error=${error} retry=${() => setAttempt(attempt + 1)} /><p><a href="/">Go to the traces</a></p></div>`;
}
