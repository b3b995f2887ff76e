/** Elements made of text nodes only. What senders wrote is never parsed as HTML, and shows what would be invisible. */

/**
 * An element: `h("a", {href: "x", class: "y", onclick: f, dataset: {id: 1}}, "text", child)`.
 *
 * Properties that are null, undefined or false are left out; `true` is an attribute without a value. Functions named
 * `on...` are listeners. Children are nodes, texts, or arrays of them; null and false are skipped.
 */
export function h(tag, properties, ...children) {
  return build(document.createElement(tag), properties, children);
}

/** An SVG element, as `h`. */
export function svg(tag, properties, ...children) {
  return build(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function build(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...shown(children));
  return element;
}

function shown(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Put these children in place of those that an element has. */
export function fill(element, ...children) {
  element.replaceChildren(...shown(children));
  return element;
}

/** The element with this id, which the template has. */
export const byId = (id) => document.getElementById(id);

// Everything without a glyph of its own. A space that is none, such as U+00A0, could pass as one in a topic.
const INVISIBLE = new RegExp(
  [
    // Controls but tab and newline; spaces; marks of direction and of width; separators; fillers; variation selectors.
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\xa0\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f]",
    "[\\u2000-\\u200c\\u200e\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800\\u3000]",
    "[\\u3164\\ufe00-\\ufe0e\\ufeff\\uffa0\\ufff0-\\ufffb\\ufffe\\uffff]",
    // Musical controls, tags, more variation selectors, and halves of pairs.
    "[\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}]|\\p{Surrogate}",
    // What joins the parts of an emoji is seen in its picture; anywhere else it is not.
    "(?<!\\p{ExtPict})\\ufe0f|(?<![\\p{ExtPict}\\p{EMod}\\ufe0f])\\u200d|\\u200d(?!\\p{ExtPict})",
  ].join("|"),
  "gu",
);
const NAMES = {
  0: "NUL", 7: "BEL", 8: "BS", 13: "CR", 27: "ESC", 127: "DEL", 0xa0: "NBSP", 0x200d: "ZWJ", 0xfeff: "BOM",
  0x200e: "LRM", 0x200f: "RLM", 0x202a: "LRE", 0x202b: "RLE", 0x202c: "PDF", 0x202d: "LRO", 0x202e: "RLO",
  0x2066: "LRI", 0x2067: "RLI", 0x2068: "FSI", 0x2069: "PDI",
};
// Marks are elements; so many of them that a page of noise does not become slow. Beyond them, all look alike.
const MAX_MARKS = 400;

/** What a sender wrote, as nodes: each character that has no glyph becomes a small mark that names it. */
export function visible(text) {
  const nodes = [];
  let start = 0;
  for (const match of text.matchAll(INVISIBLE)) {
    if (nodes.length >= 2 * MAX_MARKS) break;
    // A carriage return before a newline is how HTTP and Windows end lines.
    if (match[0] === "\r" && text[match.index + 1] === "\n") continue;
    if (match.index > start) nodes.push(text.slice(start, match.index));
    nodes.push(mark(match[0].codePointAt(0)));
    start = match.index + match[0].length;
  }
  const rest = text.slice(start);
  nodes.push(nodes.length >= 2 * MAX_MARKS ? rest.replace(INVISIBLE, "\ufffd") : rest);
  return nodes;
}

function mark(code) {
  const number = `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
  return h("span", { class: "mark", title: `invisible character ${number}` }, NAMES[code] ?? number);
}

/** What a sender wrote, within a line: visible, and with a direction that ends where it does. */
export function foreign(text, properties) {
  return h("bdi", properties, visible(text));
}

/** Whether a text has a character that `visible` marks: such a text is not to be pasted into a terminal. */
export const hasInvisible = (text) => text.search(INVISIBLE) >= 0;
