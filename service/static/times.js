// Times and durations in words. Times inside are milliseconds since 1970, with microseconds as a fraction.

import { remembered } from "./remembered.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const FRACTION = /\.(\d{1,6})\d*(?=Z|[+-]\d\d:?\d\d$|$)/;

/** A time of the API in milliseconds with its microseconds; null for null and for what is no time. */
export function time(text) {
  if (typeof text !== "string") return null;
  const found = FRACTION.exec(text);
  const whole = Date.parse(found ? text.replace(FRACTION, "") : text);
  if (Number.isNaN(whole)) return null;
  return found ? whole + Number(found[1].padEnd(6, "0")) / 1000 : whole;
}

/** A duration: three digits that count and a unit. */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "";
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms === 0) return "0 ms";
  if (ms < 0.9995) return `${Math.max(1, Math.round(ms * 1000))} µs`;
  if (ms < 9.995) return `${ms.toFixed(2)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9_995) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${pad(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} m`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** How long ago, as people say it; a date beyond a week. */
export function ago(ms, now) {
  const past = now - ms;
  if (past < -5000) return shortTime(ms);
  if (past < 5000) return "just now";
  if (past < MINUTE) return `${Math.floor(past / 1000)} s ago`;
  if (past < HOUR) return `${Math.floor(past / MINUTE)} min ago`;
  if (past < DAY) return `${Math.floor(past / HOUR)} h ago`;
  if (past < 7 * DAY) return `${Math.floor(past / DAY)} d ago`;
  return formatter("date", { day: "numeric", month: "short", year: "numeric" }).format(ms);
}

/** The whole time to the millisecond, with its zone: the viewer's, or UTC when that was asked for. */
export function exactTime(ms) {
  const parts = { dateStyle: undefined, year: "numeric", month: "short", day: "numeric", hour: "2-digit" };
  const options = { ...parts, minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" };
  return formatter("exact", { ...options, timeZoneName: "short" }).format(ms);
}

/** Day and minute. */
export function shortTime(ms) {
  const options = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return formatter("short", options).format(ms);
}

/** Hour and minute. */
export function clockTime(ms) {
  return formatter("clock", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(ms);
}

/** Day and month. */
export function dayOf(ms) {
  return formatter("day", { month: "short", day: "numeric" }).format(ms);
}

export function isUtc() {
  return remembered.get("utc", false);
}

/** What a `datetime-local` field holds for a time, in the zone that times are shown in. */
export function fieldTime(ms) {
  const shift = isUtc() ? 0 : new Date(ms).getTimezoneOffset() * MINUTE;
  return new Date(ms - shift).toISOString().slice(0, 16);
}

/** The time that a `datetime-local` field holds; null when it is empty. */
export function timeOfField(text) {
  const ms = Date.parse(isUtc() ? `${text}Z` : text);
  return Number.isNaN(ms) ? null : ms;
}

const formatters = new Map();

function formatter(name, options) {
  const key = `${name} ${isUtc()}`;
  if (!formatters.has(key)) {
    const zone = isUtc() ? { timeZone: "UTC" } : {};
    formatters.set(key, new Intl.DateTimeFormat("en-GB", { ...options, ...zone }));
  }
  return formatters.get(key);
}

function pad(number) {
  return String(number).padStart(2, "0");
}
