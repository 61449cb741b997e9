// Long lists: only the rows that can be seen, and a few around them, are in the document.

import { useEffect, useLayoutEffect, useRef, useState } from "./view.js";

const MARGIN_ROWS = 8;
const PRINTED_ROWS_MAX = 1000;

/**
 * Which rows of a list to draw: `first` to `last` (not included), and `box`, the ref of the element that scrolls.
 *
 * `shows(row)` scrolls as little as it takes to show a row; `top` is the number of pixels scrolled. `head` are pixels
 * at the top of the box that something sticks to.
 */
export function useRows({ count, rowHeight, head = 0 }) {
  const box = useRef(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const [isPrinting, setPrinting] = useState(false);

  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    const look = () => {
      const { scrollTop, clientHeight } = element;
      setView((old) => (old.top === scrollTop && old.height === clientHeight ? old : { top: scrollTop, height: clientHeight }));
    };
    // Its first word comes once everything is laid out: to ask now would have the browser do that twice.
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, [box.current]);

  useEffect(() => {
    const before = () => setPrinting(true);
    const after = () => setPrinting(false);
    addEventListener("beforeprint", before);
    addEventListener("afterprint", after);
    return () => {
      removeEventListener("beforeprint", before);
      removeEventListener("afterprint", after);
    };
  }, []);

  const shows = (row) => {
    const element = box.current;
    if (!element) return;
    const top = row * rowHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + rowHeight + head > element.scrollTop + element.clientHeight) {
      element.scrollTop = top + rowHeight + head - element.clientHeight;
    }
  };
  if (isPrinting) return { box, shows, first: 0, last: Math.min(count, PRINTED_ROWS_MAX), top: view.top, height: view.height };
  const first = Math.max(0, Math.min(Math.floor(view.top / rowHeight) - MARGIN_ROWS, count));
  const last = Math.min(count, Math.ceil((view.top + view.height) / rowHeight) + MARGIN_ROWS);
  return { box, shows, first, last, top: view.top, height: view.height };
}

/** The height of rows: the lower one where there is width enough. */
export function useRowHeight(wide, narrow) {
  const query = useRef(matchMedia("(max-width: 760px)"));
  const [isNarrow, setNarrow] = useState(query.current.matches);
  useEffect(() => {
    const look = () => setNarrow(query.current.matches);
    query.current.addEventListener("change", look);
    return () => query.current.removeEventListener("change", look);
  }, []);
  return isNarrow ? narrow : wide;
}
