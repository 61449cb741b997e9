// How long ago something was, and exactly when as soon as the pointer rests on it.

import { ago, exactTime, time } from "./times.js";
import { html } from "./view.js";

// Words that change their width come as a new element: an old one that moved would be a shift of the layout.
export function Ago({ iso, ms = time(iso), now = Date.now() }) {
  const words = ago(ms, now);
  return html`<time key=${words} datetime=${iso} onPointerEnter=${explain}>${words}</time>`;
}

// Only then: to write a date a browser first loads what it knows of calendars.
function explain({ currentTarget }) {
  currentTarget.title = exactTime(time(currentTarget.dateTime));
}
