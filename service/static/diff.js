// How two texts differ, line by line.

const LINES_MAX = 2000;
const CONTEXT = 3;
const SHOWN_LINES_MAX = 3000;
const SHOWN_CHARS_MAX = 2000;
const CHARS_BEFORE = 60;

/**
 * Stretches of lines, [kind, lines]: "same", "removed", "added", or "skipped" for the same lines that are left out.
 * null stands for no value at all.
 */
export function difference(before, after) {
  return clipped(stretches(before, after));
}

function stretches(before, after) {
  if (before === null && after === null) return [];
  if (before === null) return [["added", after.split("\n")]];
  if (after === null) return [["removed", before.split("\n")]];
  const [from, to] = [before.split("\n"), after.split("\n")];
  let start = 0;
  while (start < from.length && start < to.length && from[start] === to[start]) start += 1;
  let end = 0;
  while (end < from.length - start && end < to.length - start && from.at(-1 - end) === to.at(-1 - end)) end += 1;
  const middle = changed(from.slice(start, from.length - end), to.slice(start, to.length - end));
  const all = [["same", from.slice(0, start)], ...middle, ["same", end ? from.slice(-end) : []]];
  return all.filter(([, lines]) => lines.length).flatMap(shortened);
}

/** The lines that two stretches have in common, and those they have not: a longest common subsequence. */
function changed(from, to) {
  if (from.length > LINES_MAX || to.length > LINES_MAX || !from.length || !to.length) return [["removed", from], ["added", to]];
  const width = to.length + 1;
  const longest = new Uint16Array((from.length + 1) * width);
  for (let i = from.length - 1; i >= 0; i -= 1) {
    for (let j = to.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = from[i] === to[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const found = [];
  const add = (kind, line) => (found.at(-1)?.[0] === kind ? found.at(-1)[1].push(line) : found.push([kind, [line]]));
  let [i, j] = [0, 0];
  while (i < from.length || j < to.length) {
    if (i < from.length && j < to.length && from[i] === to[j]) {
      add("same", from[i]);
      i += 1;
      j += 1;
    } else if (j >= to.length || (i < from.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      add("removed", from[i]);
      i += 1;
    } else {
      add("added", to[j]);
      j += 1;
    }
  }
  return found;
}

/** Of many same lines only those next to a change. */
function shortened([kind, lines], place, all) {
  const [isFirst, isLast] = [place === 0, place === all.length - 1];
  const kept = (isFirst ? 0 : CONTEXT) + (isLast ? 0 : CONTEXT);
  if (kind !== "same" || lines.length <= kept + 1) return [[kind, lines]];
  const [head, tail] = [isFirst ? [] : lines.slice(0, CONTEXT), isLast ? [] : lines.slice(-CONTEXT)];
  const skipped = lines.length - head.length - tail.length;
  return [["same", head], ["skipped", [`${skipped} lines are the same`]], ["same", tail]].filter(([, some]) => some.length);
}

/** What can be shown of the stretches: of lines as long as books the part that differs, and not more lines than anybody reads. */
function clipped(all) {
  let left = SHOWN_LINES_MAX;
  const found = [];
  all.forEach(([kind, lines], i) => {
    const [other, otherLines] = all[i + (kind === "removed" ? 1 : -1)] ?? [];
    const isPair = (kind === "removed" && other === "added") || (kind === "added" && other === "removed");
    const shown = lines.slice(0, left).map((line, n) => excerpt(line, isPair ? otherLines[n] : undefined));
    if (shown.length) found.push([kind, shown]);
    if (shown.length < lines.length) found.push(["skipped", [`${lines.length - shown.length} lines more are not shown`]]);
    left -= shown.length;
  });
  return found;
}

function excerpt(line, other = "") {
  if (line.length <= SHOWN_CHARS_MAX) return line;
  let same = 0;
  while (same < line.length && line[same] === other[same]) same += 1;
  const from = same === line.length || same < SHOWN_CHARS_MAX - CHARS_BEFORE ? 0 : same - CHARS_BEFORE;
  const until = Math.min(line.length, from + SHOWN_CHARS_MAX);
  return `${from ? "…" : ""}${line.slice(from, until)}${until < line.length ? `… (${line.length} characters)` : ""}`;
}
