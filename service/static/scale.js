// The scale of a timeline: the stretch of time that is shown, and round numbers to write along it.

const STEPS = [1, 2, 5];
const WIDTH_MIN_MS = 0.001;

/** A stretch of time in milliseconds. It never leaves `whole`. */
export class Scale {
  constructor(from, to, whole = null) {
    this.whole = whole ?? this;
    const width = Math.min(Math.max(to - from, WIDTH_MIN_MS), whole ? whole.to - whole.from : Infinity);
    this.from = whole ? Math.max(whole.from, Math.min(from, whole.to - width)) : from;
    this.to = this.from + width;
  }

  get width() {
    return this.to - this.from;
  }

  get isWhole() {
    return this.whole === this || this.width >= this.whole.width * 0.9999;
  }

  /** Where a time lies: 0 is the left edge, 1 the right one. */
  at(ms) {
    return (ms - this.from) / this.width;
  }

  /** The stretch that is so many times as wide, around a place that stays where it is. */
  zoomed(factor, around = 0.5) {
    const middle = this.from + this.width * around;
    const width = this.width * factor;
    return new Scale(middle - width * around, middle + width * (1 - around), this.whole);
  }

  moved(share) {
    return new Scale(this.from + this.width * share, this.to + this.width * share, this.whole);
  }

  /** The stretch within another whole, which grew. */
  within(whole) {
    return this.isWhole ? whole : new Scale(this.from, this.to, whole);
  }

  /** About so many places with round distances, as milliseconds since the beginning of the whole. */
  ticks(about) {
    const raw = this.width / about;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * (STEPS.find((one) => one * power >= raw) ?? 10);
    const zero = this.whole.from;
    const found = [];
    for (let n = Math.ceil((this.from - zero) / step); n * step <= this.to - zero; n += 1) found.push(n * step);
    return found;
  }
}
