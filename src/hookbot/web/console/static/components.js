/** What more than one page shows: times, topics, verdicts, copy buttons, dialogs, toasts, empty states. */

import { root } from "./api.js";
import { byId, fill, foreign, h, visible } from "./dom.js";
import { ago, clock, fullTime } from "./format.js";

/** A time of day, which tells the whole time when pointed at. */
export const timeOf = (time) => h("time", { datetime: time, title: fullTime(time) }, clock(time));

/** How long ago a time was. */
export const agoOf = (time) => h("time", { datetime: time, title: fullTime(time) }, ago(time));

/** A topic, as its sender wrote it; its last segment stands out. */
export function topicOf(topic) {
  const last = topic.replace(/\/$/, "").lastIndexOf("/") + 1;
  const above = last > 0 && h("span", { class: "above" }, visible(topic.slice(0, last)));
  return h("bdi", { class: "topic" }, above, visible(topic.slice(last)));
}

/** A small label with a symbol and a word, such as `badge("failed", "refused")`. Kinds: verified, token, unverified,
 * refused; plain, good, warning, bad. */
export const badge = (text, kind = "plain") => h("span", { class: `badge ${kind}` }, text);

/** The verdict about the sender of a message. */
export function verdictOf({ verdict, provider }) {
  return h("span", { class: `badge ${verdict}`, title: verdict }, provider ? foreign(provider) : verdict);
}

/** A link to a message; without children, it shows the id. */
export function messageLink(id, ...children) {
  const kind = children.length ? null : "id";
  const href = `${root}messages/${encodeURIComponent(id)}`;
  return h("a", { href, class: kind, dataset: { message: id } }, children.length ? children : id);
}

/** A list of names and values, in the order of an object or of pairs; without those that are empty. */
export function facts(values, kind = "") {
  const pairs = Array.isArray(values) ? values : Object.entries(values);
  const given = pairs.filter(([, value]) => value || value === 0);
  return h("dl", { class: `facts ${kind}` }, given.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
}

/** A button that copies a text; `text` may be a function that makes it, also later. */
export function copyButton(label, text) {
  return h("button", { type: "button", class: "quiet", onclick: () => copy(text) }, label);
}

/** Copy a text, and say so. Over plain HTTP, browsers leave that to the reader: then the text is shown, selected. */
export async function copy(text) {
  try {
    const made = typeof text === "function" ? await text() : text;
    if (!navigator.clipboard) return showToCopy(made);
    await navigator.clipboard.writeText(made);
    toast("Copied");
  } catch (error) {
    toast(`Not copied: ${error.message}`, "bad");
  }
}

function showToCopy(text) {
  const area = h("textarea", { class: "code", rows: 10, readonly: true, "aria-label": "Text to copy", value: text });
  const { dialog, actions } = openDialog("Copy this", area);
  actions.append(h("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close"));
  area.select();
}

/** Tell something for some seconds, at the lower edge. */
export function toast(content, kind = "good") {
  const element = h("div", { class: `toast ${kind}` }, content);
  byId("toasts").append(element);
  setTimeout(() => element.remove(), 6000);
}

/** Tell why something was refused; if a token is missing, where to add one. */
export const toastError = ({ message, status }) => toast([message, status === 403 && [". ", addToken()]], "bad");

/** A link to where another token is added to the session, and back. */
export const addToken = () => h("a", { class: "add-token", href: `${root}sign-in` }, "Add a token");

/**
 * Ask before something is done; true if the answer is yes.
 *
 * `action` is the verb on the button. With `danger` the button has to be pressed twice; if it is not `possible`, it
 * cannot be pressed. `content` may have inputs, which are read by the caller afterwards.
 */
export function ask({ title, content, action, danger = false, possible = true }) {
  const { dialog, actions } = openDialog(title, content);
  let armed = !danger;
  const yes = h("button", { type: "button", class: danger ? "danger" : "primary", disabled: !possible, onclick: () => {
    if (armed) dialog.close("yes");
    armed = true;
    fill(yes, `Really ${action[0].toLowerCase()}${action.slice(1)}`);
  } }, action);
  actions.append(h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"), yes);
  yes.focus();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes")));
}

/** A dialog on the page, open, with a place for buttons; it removes itself when it closes. */
export function openDialog(title, content) {
  const actions = h("div", { class: "actions" });
  const place = h("div", { class: "content" }, content);
  const dialog = h("dialog", { "aria-label": title }, h("h2", null, title), place, actions);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, actions };
}

/** What a list shows that has nothing to show. */
export const empty = (title, ...hint) => h("div", { class: "empty" }, h("h2", null, title), h("p", null, hint));

/** A failure to load, in place of what was to be shown. */
export const failure = (error) => h("p", { class: "note bad", role: "alert" }, error.message);
