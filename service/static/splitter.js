// The line between tree and panel. Dragging it, or the arrow keys on it, make the panel wider or narrower.

import { remembered } from "./remembered.js";
import { html, useLayoutEffect, useRef, useState } from "./view.js";

const [LEAST, MOST, STEP] = [28, 72, 2];

export function Splitter() {
  const line = useRef();
  const [share, setShare] = useState(remembered.get("panel", 44));
  useLayoutEffect(() => line.current.parentElement.style.setProperty("--panel", `${share}%`), [share]);
  const become = (wanted) => {
    const next = Math.max(LEAST, Math.min(MOST, Math.round(wanted)));
    setShare(next);
    remembered.set("panel", next);
  };
  const press = (event) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    event.preventDefault();
  };
  const move = (event) => {
    if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
    const { left, width } = line.current.parentElement.getBoundingClientRect();
    become(100 - (100 * (event.clientX - left)) / width);
  };
  const key = (event) => {
    const by = { ArrowLeft: STEP, ArrowRight: -STEP }[event.key];
    if (!by) return;
    event.preventDefault();
    become(share + by);
  };
  return html`<div class="splitter" ref=${line} role="separator" tabindex="0" aria-orientation="vertical" aria-label="Width of the run's panel" aria-valuenow=${share} aria-valuemin=${LEAST} aria-valuemax=${MOST} onPointerDown=${press} onPointerMove=${move} onKeyDown=${key}></div>`;
}
