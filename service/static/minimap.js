// A whole trace in a strip: every run a line, and the stretch that the timeline shows. Dragging chooses another.

import { Scale } from "./scale.js";
import { typeName } from "./icons.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./view.js";

const HEIGHT = 44;
const CLICK_PX = 4;

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

function paint(canvas, width, tree) {
  const ratio = devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = HEIGHT * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${HEIGHT}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const colours = coloursOf(canvas);
  const rows = Math.max(tree.steps.length, 12);
  const line = Math.max(1, Math.min(4, (HEIGHT - 8) / rows));
  const whole = tree.to - tree.from;
  const failed = [];
  const drawn = new Map();
  const draw = (step) => {
    const end = step.end ?? (step.isRunning ? tree.to : step.start);
    const x = ((step.start - tree.from) / whole) * width;
    const y = Math.round((4 + (step.index / rows) * (HEIGHT - 8)) * ratio) / ratio;
    const until = x + Math.max(1, ((end - step.start) / whole) * width);
    const colour = step.status === "failed" ? "failed" : typeName(step.type);
    // Of thousands of runs most lie on a line that has their colour already.
    const before = drawn.get(`${y} ${colour}`);
    if (before && x >= before.x && until <= before.until) return;
    drawn.set(`${y} ${colour}`, { x, until });
    pen.fillStyle = colours[colour];
    pen.fillRect(x, y, until - x, line);
  };
  for (const step of tree.steps) {
    if (step.start === null) continue;
    if (step.isOrigin) failed.push(step);
    else draw(step);
  }
  failed.forEach(draw); // Last, so that nothing covers them.
}

const NAMES = ["chain", "llm", "tool", "retriever", "prompt", "parser", "embedding", "other"];

function coloursOf(element) {
  // A canvas knows no variables: a probe takes each colour as the style sheet has it in this theme.
  const probe = document.createElement("span");
  element.after(probe);
  const colours = {};
  for (const name of [...NAMES, "failed"]) {
    probe.className = name === "failed" ? "status-failed" : `type-${name}`;
    colours[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return colours;
}
