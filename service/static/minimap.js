// A whole trace in a strip: every run a line, and the stretch that the timeline shows. Dragging chooses another.

import { Scale } from "./scale.js";
import { typeName } from "./icons.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./view.js";

const HEIGHT = 44;
const CLICK_PX = 4;
const MARGIN = 4;
const LINE_MAX = 4;
const ROWS_MIN = 12;

export function Minimap({ store }) {
  const canvas = useRef();
  const drag = useRef(null);
  const [width, setWidth] = useState(0);
  const { tree, scale } = store;

  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.round(entry.contentRect.width)));
    observer.observe(canvas.current.parentElement);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const draw = () => width && paint(canvas.current, width, tree);
    draw();
    const themes = new MutationObserver(draw);
    themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => themes.disconnect();
  }, [tree, width]);

  const timeAt = (event) => {
    const { left } = canvas.current.getBoundingClientRect();
    return tree.from + ((event.clientX - left) / width) * (tree.to - tree.from);
  };
  const press = (event) => {
    if (event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    drag.current = { x: event.clientX, time: timeAt(event) };
  };
  const move = (event) => {
    if (!drag.current || Math.abs(event.clientX - drag.current.x) < CLICK_PX) return;
    const [from, to] = [drag.current.time, timeAt(event)].sort((a, b) => a - b);
    store.zoom(new Scale(from, to, new Scale(tree.from, tree.to)));
  };
  const release = (event) => {
    if (drag.current && Math.abs(event.clientX - drag.current.x) < CLICK_PX && !scale.isWhole) {
      const middle = timeAt(event);
      store.zoom(new Scale(middle - scale.width / 2, middle + scale.width / 2, scale.whole));
    }
    drag.current = null;
  };
  const whole = new Scale(tree.from, tree.to);
  const window = { left: `${100 * whole.at(scale.from)}%`, width: `${(100 * scale.width) / whole.width}%` };
  return html`<div class="minimap" aria-hidden="true" title="Drag to look at a part" onPointerDown=${press} onPointerMove=${move} onPointerUp=${release} onDblClick=${() => store.zoom(whole)}>
    <canvas ref=${canvas} height=${HEIGHT}></canvas>
    ${scale.isWhole ? null : html`<div class="minimap-window" style=${window}></div>`}
  </div>`;
}

// Pixels are written one by one: telling a canvas of tens of thousands of rectangles takes it ten times as long.
function paint(canvas, width, tree) {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(HEIGHT * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${HEIGHT}px`;
  const pen = canvas.getContext("2d");
  const colours = coloursOf(canvas);
  const image = pen.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const margin = MARGIN * ratio;
  const rows = Math.max(tree.steps.length, ROWS_MIN);
  const line = Math.max(1, Math.round(Math.min(LINE_MAX * ratio, (canvas.height - 2 * margin) / rows)));
  const across = canvas.width / (tree.to - tree.from);
  const draw = (step) => {
    const end = step.end ?? (step.isRunning ? tree.to : step.start);
    const left = Math.min(Math.floor((step.start - tree.from) * across), canvas.width - 1);
    const right = Math.max(left + 1, Math.round((end - tree.from) * across));
    const top = Math.round(margin + (step.index / rows) * (canvas.height - 2 * margin));
    const colour = colours[step.status === "failed" ? "failed" : typeName(step.type)];
    for (let y = top; y < top + line; y += 1) pixels.fill(colour, y * canvas.width + left, y * canvas.width + Math.min(right, canvas.width));
  };
  const drawn = tree.steps.filter((step) => step.start !== null);
  for (const step of drawn) if (!step.isOrigin) draw(step);
  for (const step of drawn) if (step.isOrigin) draw(step); // Last, so that nothing covers them.
  pen.putImageData(image, 0, 0);
}

const NAMES = ["chain", "llm", "tool", "retriever", "prompt", "parser", "embedding", "other"];

/** The colours of this theme, each as the number that a pixel of it is. */
function coloursOf(element) {
  // A canvas knows no variables: a probe takes each colour as the style sheet has it.
  const probe = document.createElement("span");
  element.after(probe);
  const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const colours = {};
  for (const name of [...NAMES, "failed"]) {
    probe.className = name === "failed" ? "status-failed" : `type-${name}`;
    pen.fillStyle = getComputedStyle(probe).color;
    pen.fillRect(0, 0, 1, 1);
    [colours[name]] = new Uint32Array(pen.getImageData(0, 0, 1, 1).data.buffer);
  }
  probe.remove();
  return colours;
}
