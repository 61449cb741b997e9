// Stands in the document, and runs before anything else is fetched. It asks for what the page shows first, so that the
// answer is on its way while the modules come (see `api.js`), and sets the chosen theme before the first paint, so that
// nobody sees the other one flash up.
{
  const stored = (storage, name) => {
    try {
      return window[storage].getItem(`agent-spy.${name}`);
    } catch {
      return null; // Storage may be switched off.
    }
  };
  const addressOfTraces = () => {
    const names = ["project", "status", "search", "search_in", "from", "to"];
    const said = new URLSearchParams(location.search);
    // An address without a filter takes up those that were last in use. See `traces.js`.
    const kept = [...names, "range"].some((name) => said.get(name)) ? "" : JSON.parse(stored("localStorage", "filters") || '""');
    const given = kept ? new URLSearchParams(kept) : said;
    if (given.get("range")) return null; // It counts from now on, which is later.
    if (!given.get("search")) given.delete("search_in");
    const asked = new URLSearchParams();
    for (const name of names) {
      if (given.get(name)) asked.set({ from: "start_time_gte", to: "start_time_lte" }[name] ?? name, given.get(name));
    }
    return `/api/v1/dashboard/runs/roots?${asked}${asked.size ? "&" : ""}preview=true&trace_totals=true&limit=60`;
  };
  const addressOfTrace = (path) => {
    const found = /^\/ui\/traces\/([0-9a-fA-F-]{32,36})\/?$/.exec(path);
    return found && `/api/v1/dashboard/runs/${found[1]}/outline`;
  };

  const path = location.pathname === "/" ? addressOfTraces() : addressOfTrace(location.pathname);
  if (path) {
    const key = stored("sessionStorage", "key");
    const answer = fetch(path, { headers: key ? { "x-api-key": key } : {}, credentials: "same-origin", cache: "no-store" });
    // With its text, so that who takes it has that at once.
    const whole = answer.then(async (begun) => {
      const text = await begun.text();
      return { ok: begun.ok, status: begun.status, text: async () => text, json: async () => JSON.parse(text) };
    });
    whole.catch(() => {}); // Whoever takes the answer tells of it.
    window.firstRequest = { path, key, answer: whole, at: performance.now() };
  }

  // To look into a storage takes a browser a while the first time.
  const theme = stored("localStorage", "theme");
  if (theme === '"light"' || theme === '"dark"') document.documentElement.dataset.theme = JSON.parse(theme);
}
