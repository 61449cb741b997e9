// Charts over time, drawn as SVG. Every column leads to the list of what it counts.

import { clockTime, dayOf, shortTime } from "./times.js";
import { classes, html, useState } from "./view.js";

const HOUR = 3_600_000;
const LABELS_MAX = 6;

/**
 * Bars, or lines, over buckets. `series` are {name, class, value(bucket)}, stacked upwards; `format` writes a value,
 * `href(bucket)` is where a column leads. With `isMain` the columns can be reached by the keyboard.
 */
export function Chart({ title, total, buckets, series, format, href, kind = "bars", isMain = false }) {
  const [at, setAt] = useState(null);
  const values = buckets.map((bucket) => series.map((one) => one.value(bucket) ?? 0));
  const heights = kind === "bars" ? values.map((stack) => stack.reduce((sum, value) => sum + value, 0)) : values.map((line) => Math.max(...line));
  const top = niceTop(Math.max(...heights, 0));
  const shown = at === null ? null : buckets[at];
  return html`<figure class="chart">
    <figcaption><h2>${title}</h2><span class="chart-total">${shown ? span(shown) : total}</span></figcaption>
    <ul class="legend">${series.map((one) => html`<li key=${one.name}><span class=${`swatch ${one.class}`}></span>${one.name}${shown ? html` <b>${format(one.value(shown) ?? 0)}</b>` : null}</li>`)}</ul>
    <div class="plot" onPointerLeave=${() => setAt(null)}>
      ${[1, 0.5, 0].map((share) => html`<span key=${share} class="grid-line" style=${{ bottom: `${100 * share}%` }}><span>${share ? format(top * share) : "0"}</span></span>`)}
      <svg viewBox=${`0 0 ${buckets.length} 100`} preserveAspectRatio="none" role="group" aria-label=${title}>
        ${kind === "bars" ? buckets.map((bucket, i) => html`<${Stack} key=${i} i=${i} values=${values[i]} series=${series} top=${top} />`) : html`<${Lines} values=${values} series=${series} top=${top} buckets=${buckets} />`}
        ${buckets.map((bucket, i) => html`<${Column} key=${i} i=${i} isAt=${i === at} onAt=${() => setAt(i)} href=${href(bucket)} isMain=${isMain && heights[i] > 0} label=${`${span(bucket)}: ${series.map((one) => `${format(one.value(bucket) ?? 0)} ${one.name}`).join(", ")}`} />`)}
      </svg>
    </div>
    <${Axis} buckets=${buckets} />
  </figure>`;
}

function Stack({ i, values, series, top }) {
  let below = 0;
  return values.map((value, n) => {
    const height = (100 * value) / top;
    below += height;
    return value ? html`<rect class=${`stacked ${series[n].class}`} x=${i + 0.12} width="0.76" y=${100 - below} height=${height} />` : null;
  });
}

/** Lines through the middles of the buckets that have a value; a bucket alone is a dot. The first lies on top. */
function Lines({ values, series, top, buckets }) {
  const paths = series.map((one, n) => {
    const has = (i) => i >= 0 && i < buckets.length && one.value(buckets[i]) !== null;
    let [path, dots] = ["", ""];
    buckets.forEach((bucket, i) => {
      if (!has(i)) return;
      const point = `${i + 0.5} ${100 - (100 * values[i][n]) / top}`;
      if (has(i - 1)) path += `L${point}`;
      else if (has(i + 1)) path += `M${point}`;
      else dots += `M${point}h0.001`;
    });
    return html`<g key=${one.name}><path class=${`line ${one.class}`} d=${path} />${dots ? html`<path class=${`line dots ${one.class}`} d=${dots} />` : null}</g>`;
  });
  return paths.reverse();
}

function Column({ i, isAt, onAt, href, isMain, label }) {
  const box = html`<rect class="column" x=${i} y="0" width="1" height="100" />`;
  return html`<a href=${href} class=${classes("column-link", isAt && "is-at")} tabindex=${isMain ? 0 : -1} aria-label=${label} onPointerEnter=${onAt} onFocus=${onAt}>${box}</a>`;
}

function Axis({ buckets }) {
  const every = Math.ceil(buckets.length / LABELS_MAX);
  const isDaily = buckets.length * width(buckets[0]) > 49 * HOUR;
  return html`<div class="time-axis" aria-hidden="true">${buckets.map((bucket, i) => i % every === 0 && html`<span key=${i} style=${{ left: `${(100 * i) / buckets.length}%` }}>${isDaily ? dayOf(bucket.start) : clockTime(bucket.start)}</span>`)}</div>`;
}

function width(bucket) {
  return bucket.end - bucket.start;
}

function span(bucket) {
  return `${shortTime(bucket.start)} – ${clockTime(bucket.end)}`;
}

/** The first round number that is not below a value. */
function niceTop(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 8, 10].map((step) => step * power).find((top) => top >= value);
}

/** A share as a bar in a table's cell. */
export function ShareBar({ share, class: className = "" }) {
  return html`<span class=${`share ${className}`} aria-hidden="true"><span style=${{ transform: `scaleX(${Math.max(0, Math.min(1, share)).toFixed(3)})` }}></span></span>`;
}
