/** Times, ages, sizes and counts as text. */

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });
const NUMBER = new Intl.NumberFormat("en-US");
const UNITS = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];

/** Time of day, after the date if it is another day than today: `14:03:22`, `29 Nov 14:03:22`. */
export function clock(time) {
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  return today ? CLOCK.format(date) : `${DAY.format(date)} ${CLOCK.format(date)}`;
}

/** Time in full, with its day and zone. */
export const fullTime = (time) => FULL.format(new Date(time));

/** Seconds in one or two units: `350 ms`, `12 s`, `3 min 20 s`, `2 d 4 h`. */
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(1000 * Math.max(0, seconds))} ms`;
  const whole = Math.round(seconds);
  const first = UNITS.findIndex(([, size]) => whole >= size);
  const [unit, size] = UNITS[first];
  const [lesser, lesserSize] = UNITS[first + 1] ?? ["", Infinity];
  const rest = Math.floor((whole % size) / lesserSize);
  return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${lesser}` : ""}`;
}

/** Seconds since a time; never negative, whatever the clocks of hub and browser say. */
export const secondsSince = (time) => Math.max(0, (Date.now() - new Date(time)) / 1000);

/** How long ago a time is, in one unit: `now`, `12 s ago`, `3 min ago`. */
export function ago(time) {
  const seconds = secondsSince(time);
  if (seconds < 2) return "now";
  const [unit, size] = UNITS.find(([, size]) => seconds >= size);
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

/** Bytes in the largest unit: `312 B`, `4.2 KB`, `25 MB`. */
export function size(bytes) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  for (; bytes >= 1024 && unit < units.length - 1; unit++) bytes /= 1024;
  return `${unit && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

/** Number with separators: `12,345`. */
export const count = (number) => NUMBER.format(number);

/** Number with its noun: `1 message`, `12,345 messages`. */
export const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
