// Runs before the first paint, so that nobody who chose a theme sees the other one flash up.
try {
  const theme = localStorage.getItem("agent-spy.theme");
  if (theme === '"light"' || theme === '"dark"') document.documentElement.dataset.theme = JSON.parse(theme);
} catch {
  // Storage may be switched off: then the system's theme it is.
}
