/** Deliver again: one message, one message and what follows it to one cursor, or all that a filter shows. */

import { get, lines, post } from "./api.js";
import { ask, facts, messageLink, openDialog, toast, topicOf } from "./components.js";
import { fill, foreign, h } from "./dom.js";
import { counted } from "./format.js";

/** Publish a message once more, after a question; a failed one goes back to the topic on which its router failed. */
export async function deliverAgain(message) {
  const topic = message.failed?.topic ?? message.topic;
  const yes = await ask({
    title: message.failed ? "Send it back?" : "Deliver again?",
    content: h("p", null, "The hub publishes it once more to ", topicOf(topic),
      ", with the same headers and body, marked as delivered again. Everybody who listens there gets it."),
    action: message.failed ? "Send back" : "Deliver again",
  });
  if (!yes) return;
  await attempt(async () => {
    const { id } = await post(`v1/messages/${encodeURIComponent(message.id)}/redeliver`);
    toast(["Delivered again: ", messageLink(id)]);
  });
}

/** As `deliverAgain`, of a message of which only the id is known. */
export const deliverAgainById = (id) =>
  attempt(async () => deliverAgain(await get(`v1/messages/${encodeURIComponent(id)}`, { body: "none" })));

/** Move a cursor or a group back to a message, so that it gets it and what follows once more. */
export async function giveToCursor(message) {
  await attempt(async () => {
    const { cursors } = await get("v1/cursors");
    const fitting = cursors.filter(({ path }) => hears(path, message.topic));
    const choice = h("div", { class: "choices", role: "radiogroup", "aria-label": "Cursor" }, fitting.map(choiceOf));
    const warning = h("p", null, "The cursor gets this message ", h("strong", null, "and all after it"), " once more.");
    const yes = await ask({
      title: "Give it to a cursor again",
      content: fitting.length ? [warning, choice] : h("p", null, "No cursor or group hears this topic."),
      action: "Move the cursor",
      danger: true,
      possible: fitting.length > 0,
    });
    const chosen = fitting[choice.querySelector(":checked")?.value];
    if (!yes || !chosen) return;
    const { kind, path, name } = chosen;
    await post("v1/cursors", { kind, path, name, from: message.id });
    toast([`The ${kind} `, foreign(name), " gets it again"]);
  });
}

function choiceOf({ kind, path, name }, index) {
  return h("label", { class: "choice" },
    h("input", { type: "radio", name: "cursor", value: index, checked: index === 0 }),
    h("span", null, foreign(name, { class: "id" }),
      h("span", { class: "quiet-text" }, ` ${kind} at `, foreign(path, { class: "topic" }))));
}

/** Whether who subscribes at a path, such as `/sub/acme/`, gets messages of a topic. */
export function hears(path, topic) {
  const [, unsafe, name, recursive] = /^(\/unsafe)?\/sub\/(.*?)(\?recursive)?$/s.exec(path) ?? [];
  if (name === undefined) return false;
  const wanted = unsafe ? `/unsafe/${name}` : name;
  if (topic === wanted || (recursive && topic.startsWith(`${wanted}/`))) return true;
  return wanted === "" ? !topic.startsWith("/") : wanted.endsWith("/") && topic.startsWith(wanted);
}

/** Publish once more all stored messages that the filters show: count, ask, and show how far it is. */
export async function deliverAll(filters) {
  await attempt(async () => {
    const { head } = await get("v1/session");
    // What comes meanwhile is not among them.
    const range = { ...filters, until: head };
    const { number, complete } = await post("v1/redeliver", { ...range, count: "only" });
    const counts = counted(number, "message");
    const yes = await ask({
      title: "Deliver all of these again?",
      content: [
        h("p", null, h("strong", null, complete ? counts : `The first ${counts}`),
          " that the filter shows, oldest first, each to its own topic and marked as delivered again."),
        facts(Object.entries(filters).map(([name, value]) => [name, foreign(value)])),
      ],
      action: "Deliver all",
      danger: true,
      possible: number > 0,
    });
    if (yes) await deliverWithProgress(range, number);
  });
}

async function deliverWithProgress(range, number) {
  const abort = new AbortController();
  const bar = h("progress", { max: number, value: 0, "aria-label": "Delivered" });
  const state = h("p", { role: "status" }, "Starting");
  const { dialog, actions } = openDialog("Delivering again", [bar, state]);
  const button = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  actions.append(button);
  dialog.addEventListener("close", () => abort.abort());
  const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const options = { method: "POST", signal: abort.signal, headers: { "Idempotency-Key": key } };
  try {
    for await (const line of lines("v1/redeliver", range, options)) {
      if (line.type === "error") throw new Error(line.detail);
      bar.value = line.done;
      const done = counted(line.done, "message");
      fill(state, line.type === "done" ? `Delivered ${done}.` : `${done} of ${line.of}`);
    }
    bar.value = number;
  } catch (error) {
    if (error.name === "AbortError") return toast(`Cancelled after ${counted(bar.value, "message")}`, "bad");
    fill(state, error.message);
  }
  fill(button, "Close");
}

async function attempt(act) {
  try {
    await act();
  } catch (error) {
    toast(error.message, "bad");
  }
}
