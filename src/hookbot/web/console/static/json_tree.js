/** JSON as a tree that is built as far as it is opened: whoever sends a million values gets a few hundred elements. */

import { foreign, h } from "./dom.js";
import { count } from "./format.js";

/** Values that are open at first; the rest is folded. */
const OPEN_VALUES = 200;
/** Values of one array or object that are shown at once. */
const PAGE = 200;
/** Characters of one text that are shown at first, and then at once. */
const FIRST_TEXT = 600;
const LONG_TEXT = 4000;
/** Depth beyond which the beginning of a text is not shown as a tree. */
const MAX_DEPTH = 1000;

/** A number that JavaScript cannot hold, in the digits that were sent. */
class Digits {
  constructor(source) {
    this.source = source;
  }
}

/** The value of a JSON text; numbers keep all their digits. Raises `SyntaxError`. */
export function parseJson(text) {
  const keepDigits = (_, value, context) =>
    typeof value === "number" && context && !holds(value, context.source) ? new Digits(context.source) : value;
  try {
    return JSON.parse(text, keepDigits);
  } catch (error) {
    // So deep that to visit each value overflows the stack: then without the digits.
    if (error instanceof RangeError) return JSON.parse(text);
    throw error;
  }
}

/** Whether a number is what its digits say, but for the way in which it is written, such as 1.50 or 1e3. */
const holds = (value, source) => (Number.isInteger(value) ? Number.isSafeInteger(value) : source.length < 17);

/** The beginning of a JSON text, ended after its last whole value; null if there is none. */
export function endJson(text) {
  // Each knows the one around it, so that to remember where the text is cut takes no time, however deep that is.
  let within = null;
  let cut = 0;
  let cutWithin = null;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') {
      for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === "\\") at++;
    } else if (character === "{" || character === "[") {
      within = { closer: character === "{" ? "}" : "]", around: within };
    } else if (character === "}" || character === "]") {
      within = within?.around ?? null;
    } else if (character === ",") {
      cut = at;
      cutWithin = within;
    }
  }
  if (!cut) return null;
  const closers = [];
  for (; cutWithin && closers.length < MAX_DEPTH; cutWithin = cutWithin.around) closers.push(cutWithin.closer);
  return cutWithin ? null : text.slice(0, cut) + closers.join("");
}

/** A tree of elements for a value; the first so many values are open. */
export function jsonTree(value) {
  if (!isContainer(value)) return h("div", { class: "tree" }, leaf(null, value));
  const trunk = branch(null, value);
  // Level by level, so that the outline is seen before the details.
  const queue = [trunk];
  for (let left = OPEN_VALUES; queue.length; ) {
    const next = queue.shift();
    if (next.shown > left) continue;
    left -= next.shown;
    queue.push(...next.open());
  }
  return h("div", { class: "tree" }, trunk.element);
}

const isContainer = (value) => typeof value === "object" && value !== null && !(value instanceof Digits);

/** A foldable array or object: its element, how many values it shows when opened, and `open`, which gives branches. */
function branch(key, value) {
  const entries = Array.isArray(value) ? null : Object.keys(value);
  const length = entries?.length ?? value.length;
  const content = h("div", { class: "twigs" });
  const summary = h("summary", null, keyOf(key), summaryOf(entries, length));
  const element = h("details", { ontoggle: build }, summary, content);
  let built = 0;
  let branches = [];

  function build() {
    if (element.open && !built) more();
  }
  function more() {
    const end = Math.min(length, built + PAGE);
    for (; built < end; built++) {
      const name = entries ? entries[built] : built;
      const child = value[name];
      const twig = isContainer(child) ? branch(name, child) : null;
      if (twig) branches.push(twig);
      content.append(twig?.element ?? leaf(name, child));
    }
    if (built < length) content.append(moreButton(`${count(length - built)} more`, more));
  }
  function open() {
    element.open = true;
    build();
    return branches;
  }
  return { element, shown: Math.min(length, PAGE), open };
}

function summaryOf(entries, length) {
  const [first, last] = entries ? ["{", "}"] : ["[", "]"];
  const hint = entries?.slice(0, 4).join(", ").slice(0, 60);
  const content = entries ? foreign(length > 4 ? `${hint}, …` : hint) : count(length);
  return h("span", { class: "brackets" }, first, h("span", { class: "summary" }, content), last);
}

function leaf(key, value) {
  return h("div", { class: "leaf" }, keyOf(key), scalar(value));
}

function keyOf(key) {
  if (key === null) return null;
  const kind = typeof key === "number" ? "index" : "key";
  return [foreign(String(key), { class: kind }), h("span", { class: "colon" }, ": ")];
}

function scalar(value) {
  if (value instanceof Digits) return h("span", { class: "json-number" }, value.source);
  const kind = value === null ? "null" : typeof value;
  if (kind !== "string") return h("span", { class: `json-${kind}` }, String(value));
  const text = JSON.stringify(value);
  const element = h("span", { class: "json-string" });
  let shown = 0;
  function more() {
    const end = shown ? shown + LONG_TEXT : FIRST_TEXT;
    element.append(foreign(text.slice(shown, end)));
    shown = end;
    if (text.length > end) element.append(moreButton(`… ${count(text.length - end)} more characters`, more));
  }
  more();
  return element;
}

function moreButton(label, more) {
  return h("button", { type: "button", class: "quiet more-values", onclick: ({ currentTarget }) => {
    currentTarget.remove();
    more();
  } }, label);
}
