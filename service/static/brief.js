// Texts that ought to be short, such as names. No client has to keep to that.

import { bytes } from "./numbers.js";

const CHARS_MAX = 300;
const LISTED_MAX = 12;

/** A text, cut where it is not short: it takes a browser half a minute to lay out a word of megabytes. */
export function brief(text) {
  const whole = String(text);
  return whole.length <= CHARS_MAX ? whole : `${whole.slice(0, CHARS_MAX)}… (${bytes(whole.length)})`;
}

/** Some texts that ought to be short and few, in a line. */
export function briefList(texts) {
  const listed = texts.slice(0, LISTED_MAX).map(brief).join(", ");
  return texts.length > LISTED_MAX ? `${listed}, …` : listed;
}
