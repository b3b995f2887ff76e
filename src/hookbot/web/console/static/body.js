/** The body of a message in the views that fit it: pretty, as text, as hex. */

import { bytes as fetchBytes, messagePath, url } from "./api.js";
import { facts } from "./components.js";
import { fill, foreign, h, visible } from "./dom.js";
import { count, size } from "./format.js";
import { readForm, readMultipart } from "./forms.js";
import { endJson, jsonTree, parseJson } from "./json_tree.js";

/** Bytes that are fetched to be shown; of more, only the beginning. */
export const SHOWN_BYTES = 256 << 10;
// What is drawn at once, of text in characters: the layout of more takes seconds, of hostile text minutes.
const PAGE = 24 << 10;
const BLOCK = 4 << 10;
const HEX_ROWS = 256;
const RASTER = /^image\/(png|jpeg|gif|webp|avif)\b/i;
const MAX_IMAGE_BYTES = 16 << 20;

/** The beginning of the body of a message. */
export const fetchBody = (id) => fetchBytes(messagePath(id, "/body"), { first: SHOWN_BYTES });

/** The text of a body, in the charset of its content type; null if it is none. */
export function textOf(contentType, bytes, { cut = false } = {}) {
  const charset = /charset="?([\w.:-]+)/i.exec(contentType)?.[1] ?? "utf-8";
  try {
    // What is cut may end within a character: as a stream, that is no error.
    const text = new TextDecoder(charset, { fatal: true }).decode(bytes, { stream: cut });
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}

/** The body of a message: a choice of views, the first of which is shown, and a link to all of its bytes. */
export function bodyOf({ id, content_type: type, size: whole }, bytes) {
  const contentType = type ?? "";
  const views = viewsOf({ id, contentType, bytes, whole, cut: bytes.length < whole });
  const place = h("div", { class: "body-view" });
  const buttons = Object.keys(views).map((name) => h("button", { type: "button", onclick: () => show(name) }, name));

  function show(name) {
    for (const button of buttons) button.setAttribute("aria-pressed", button.textContent === name);
    fill(place, views[name]());
  }
  show(Object.keys(views)[0]);
  const download = h("a", { class: "button quiet", href: url(messagePath(id, "/body")), download: id }, "Download");
  return h("section", { class: "body-part" },
    h("div", { class: "part-head" }, h("h3", null, "Body"),
      foreign(contentType, { class: "quiet-text" }),
      h("div", { class: "segmented", role: "group", "aria-label": "View" }, buttons), download),
    bytes.length < whole && h("p", { class: "note" }, `The first ${size(bytes.length)} of ${size(whole)}.`),
    place);
}

/** Views by name, the most telling first; each is made when it is shown. */
function viewsOf({ id, contentType, bytes, whole, cut }) {
  if (!whole) return { Empty: () => h("p", { class: "quiet-text" }, "The body is empty.") };
  const views = {};
  const text = textOf(contentType, bytes, { cut });
  if (RASTER.test(contentType) && whole <= MAX_IMAGE_BYTES) views.Image = () => imageOf(id);
  const pretty = prettyOf(contentType, text, bytes, cut);
  if (pretty) views.Pretty = pretty;
  if (text !== null) views.Text = () => textView(text);
  views.Hex = () => hexOf(bytes);
  return views;
}

function imageOf(id) {
  const image = h("img", { src: url(messagePath(id, "/body")), alt: "The body as an image", class: "body-image" });
  const otherwise = h("p", { class: "note" }, "The body is no image, although it says so.");
  image.addEventListener("error", () => image.replaceWith(otherwise));
  return image;
}

/** What makes the pretty view of a body; null if it has none. */
function prettyOf(contentType, text, bytes, cut) {
  if (/^multipart\//i.test(contentType)) {
    const parts = readMultipart(contentType, bytes);
    return parts?.length ? () => partsOf(parts) : null;
  }
  if (text === null) return null;
  if (/^application\/x-www-form-urlencoded/i.test(contentType)) return () => formOf(readForm(text));
  const value = jsonIn(text, cut);
  return value === undefined ? null : () => jsonTree(value);
}

/** The JSON value that a text is, or of which it is the beginning; undefined if it is none. */
function jsonIn(text, cut) {
  if (!/^\s*[[{"\d-]|^\s*(true|false|null)\s*$/.test(text)) return undefined;
  try {
    const whole = cut ? endJson(text) : text;
    return whole === null ? undefined : parseJson(whole);
  } catch {
    return undefined;
  }
}

function formOf(fields) {
  return facts(fields.map(([name, value]) => [foreign(name), valueOf(value)]), "fields");
}

function valueOf(value) {
  // GitHub and Slack put a whole JSON object into one field.
  const json = /^\s*[[{]/.test(value) ? jsonIn(value, false) : undefined;
  if (json !== undefined) return jsonTree(json);
  return value.length > BLOCK ? textView(value) : foreign(value, { class: "value" });
}

function partsOf(parts) {
  return h("ol", { class: "parts" }, parts.map(({ name, filename, type, content }) => {
    const text = textOf(type, content);
    return h("li", null,
      h("p", null, h("strong", null, foreign(name || "(no name)")), " ",
        filename !== undefined && foreign(filename, { class: "id" }), " ",
        h("span", { class: "quiet-text" }, foreign(type), ` ${size(content.length)}`)),
      text === null ? hexOf(content) : h("div", { class: "value" }, valueOf(text)));
  }));
}

/** A long text, a page at a time, in blocks that the browser lays out when they are seen. */
function textView(text) {
  return inPages(text.length, PAGE, "characters", (start, end) => {
    const blocks = [];
    for (let at = start; at < end; at += BLOCK) {
      blocks.push(h("div", { class: "block" }, visible(text.slice(at, Math.min(end, at + BLOCK)))));
    }
    return blocks;
  });
}

/** Bytes as hex. */
function hexOf(bytes) {
  return inPages(bytes.length, 16 * HEX_ROWS, "bytes", (start, end) => {
    const rows = [];
    for (let at = start; at < end; at += 16) rows.push(hexRow(bytes, at));
    return rows.join("");
  }, "hex");
}

/** A block of code that grows by a page whenever its button is pressed; `make(start, end)` makes what is in a page. */
function inPages(length, page, unit, make, kind = "") {
  const pre = h("pre", { class: `code-block ${kind}`, tabindex: 0 });
  const button = h("button", { type: "button", class: "quiet", onclick: more });
  let shown = 0;
  function more() {
    const end = Math.min(length, shown + page);
    pre.append(...[make(shown, end)].flat());
    shown = end;
    button.hidden = shown === length;
    fill(button, `${count(length - shown)} ${unit} more`);
  }
  more();
  return [pre, button];
}

function hexRow(bytes, start) {
  const row = [...bytes.subarray(start, start + 16)];
  const hex = row.map((byte) => byte.toString(16).padStart(2, "0"));
  const columns = `${hex.slice(0, 8).join(" ")}  ${hex.slice(8).join(" ")}`.padEnd(48);
  const text = row.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
  return `${start.toString(16).padStart(6, "0")}  ${columns}  ${text}\n`;
}
