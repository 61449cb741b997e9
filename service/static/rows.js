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
  const wanted = useRef(null); // The row to show as soon as the box is laid out.
  const stage = useRef({ isLaidOut: false, isPainted: false });
  // Until it is known how high the box is: no higher than the window.
  const [view, setView] = useState({ top: 0, height: innerHeight, margin: 0 });
  const [isPrinting, setPrinting] = useState(false);

  const look = () => {
    const { scrollTop: top, clientHeight: height } = box.current;
    // The rows around those that can be seen come after these were painted.
    const margin = stage.current.isPainted ? MARGIN_ROWS : 0;
    setView((old) => {
      const isEnough = old.top === top && old.margin === margin && (margin ? old.height === height : old.height >= height);
      return isEnough ? old : { top, height, margin };
    });
  };
  useLayoutEffect(() => {
    const element = box.current;
    // Its first word comes once everything is laid out: to ask now would have the browser do that twice.
    const observer = new ResizeObserver(() => {
      stage.current.isLaidOut = true;
      if (wanted.current !== null) bring(element, wanted.current * rowHeight, rowHeight + head);
      wanted.current = null;
      look();
    });
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);
  useEffect(() => {
    if (!count) return;
    stage.current.isPainted = true;
    look();
  }, [count > 0]);

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
    if (stage.current.isLaidOut) bring(box.current, row * rowHeight, rowHeight + head);
    else wanted.current = row;
  };
  const { top, height, margin } = view;
  if (isPrinting) return { box, shows, first: 0, last: Math.min(count, PRINTED_ROWS_MAX), top };
  const first = Math.max(0, Math.min(Math.floor(top / rowHeight) - margin, count));
  const last = Math.min(count, Math.ceil((top + height) / rowHeight) + margin);
  return { box, shows, first, last, top };
}

/** Scrolls as little as it takes to have the pixels from `top` on, so many, in sight. */
function bring(element, top, pixels) {
  if (top < element.scrollTop) element.scrollTop = top;
  else if (top + pixels > element.scrollTop + element.clientHeight) element.scrollTop = top + pixels - element.clientHeight;
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
