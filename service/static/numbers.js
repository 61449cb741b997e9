// Counts, costs and sizes in words.

/** A whole number with separators. */
export function count(number) {
  // `toLocaleString` would load what a browser knows of all languages first.
  return number === null || number === undefined ? "" : String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A number in few characters: 950, 1.2k, 34k, 5.6M. */
export function short(number) {
  if (number === null || number === undefined) return "";
  for (const [unit, size] of [["B", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (Math.abs(number) >= size * 0.9995) {
      const parts = number / size;
      return `${parts < 9.95 ? parts.toFixed(1).replace(/\.0$/, "") : Math.round(parts)}${unit}`;
    }
  }
  return Number.isInteger(number) ? String(number) : number.toFixed(1);
}

/** US dollars: as many digits as it takes to see that it is not nothing. */
export function dollars(amount) {
  if (amount === null || amount === undefined) return "";
  const number = Number(amount);
  if (number === 0) return "$0";
  if (Math.abs(number) >= 100) return `$${count(Math.round(number))}`;
  if (Math.abs(number) >= 0.01) return `$${number.toFixed(2)}`;
  return `$${number.toPrecision(2).replace(/e.*/, "")}`.length > 9 ? "<$0.00001" : `$${Number(number.toPrecision(2))}`;
}

/** Bytes, in units of a thousand. */
export function bytes(size) {
  if (size < 1000) return `${size} B`;
  if (size < 999_500) return `${(size / 1000).toFixed(size < 9_950 ? 1 : 0)} kB`;
  return `${(size / 1e6).toFixed(size < 9.95e6 ? 1 : 0)} MB`;
}

/** A part of a whole in percent. */
export function percent(part, whole) {
  if (!whole) return "0 %";
  const share = (100 * part) / whole;
  return share > 0 && share < 0.1 ? "<0.1 %" : `${share < 9.95 ? Number(share.toFixed(1)) : Math.round(share)} %`;
}

/** `1 run`, `2 runs`. */
export function counted(number, noun) {
  return `${count(number)} ${number === 1 ? noun : `${noun}s`}`;
}
