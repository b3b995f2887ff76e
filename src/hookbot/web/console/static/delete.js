/** Delete: one message, or all that a filter shows, with the copies of it. */

import { lines, messagePath } from "./api.js";
import { ask, facts, openDialog, toast, topicOf } from "./components.js";
import { attempt, missing } from "./deliver.js";
import { fill, foreign, h } from "./dom.js";
import { count, counted } from "./format.js";

/** Name of the event of the document that tells that messages are gone. */
export const DELETED = "deleted";

/** Delete a message, after a question that says what goes with it. */
export const deleteMessage = ({ id, topic }) =>
  deleteAfterQuestion(messagePath(id), {}, "Delete this message?", h("p", null, "The message on ", topicOf(topic), "."));

/** Delete all stored messages that the filters show, up to the newest that the question was about. */
export function deleteAll(filters) {
  const shown = facts(Object.entries(filters).map(([name, value]) => [name, foreign(value)]));
  return deleteAfterQuestion("v1/messages", filters, "Delete all of these?", shown);
}

function deleteAfterQuestion(path, parameters, title, what) {
  return attempt(async () => {
    const found = await countOf(path, parameters);
    const { copies, left, until, problem } = found;
    const only = h("input", { type: "checkbox" });
    const yes = await ask({
      title,
      content: problem ?? [
        what,
        h("p", null, h("strong", null, counted(found.found - copies, "message")),
          " of which body and headers are gone for good. Who listens is told of no gap."),
        copies > 0 && h("label", { class: "choice" }, only, h("span", null, "Leave the ", h("strong", null, count(copies)),
          " more that were made of it, by routers, by delivering it again, or as duplicates")),
        left > 0 && h("p", { class: "note warning" }, leftOf(found)),
      ],
      action: "Delete",
      danger: true,
      possible: found.found > 0,
    });
    if (!yes) return;
    const range = path === "v1/messages" ? { until } : {};
    await deleteWithProgress(path, { ...parameters, ...range, "only-this": only.checked ? "true" : "" });
  });
}

/** What would be deleted, or the problem that there is no token for it. */
async function countOf(path, parameters) {
  try {
    return await lastOf(path, { ...parameters, count: "only" });
  } catch (error) {
    if (error.status !== 403) throw error;
    return { found: 0, problem: missing("Not with your tokens: ", error.message) };
  }
}

/** The last line of a deletion; each of them is handed to `take`. Raises an error if it ends before it is done. */
async function lastOf(path, parameters, take = () => {}, options = {}) {
  for await (const line of lines(path, parameters, { method: "DELETE", ...options })) {
    if (line.type === "error") throw new Error(line.detail);
    take(line);
    if (line.type === "done") return line;
  }
  throw new Error("the connection broke off");
}

async function deleteWithProgress(path, parameters) {
  const abort = new AbortController();
  const bar = h("progress", { "aria-label": "Deleted" });
  const state = h("p", { role: "status" }, "Looking for copies");
  const { dialog, actions } = openDialog("Deleting", [bar, state]);
  dialog.addEventListener("close", () => abort.abort());
  fill(actions, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"));
  let done = 0;

  function take(line) {
    done = line.done;
    if (done) [bar.max, bar.value] = [line.found, done];
    fill(state, `${counted(done, "message")} of ${count(line.found)}`);
  }

  try {
    const last = await lastOf(path, parameters, take, { signal: abort.signal });
    toast([`Deleted ${counted(done, "message")}`, last.left > 0 && [". ", leftOf(last)], last.detail && `. ${last.detail}`]);
  } catch (error) {
    toast(`Stopped after ${counted(done, "message")}${error.name === "AbortError" ? "" : `: ${error.message}`}`, "bad");
  }
  dialog.close();
  if (done) document.dispatchEvent(new Event(DELETED));
}

function leftOf({ left, topics }) {
  const where = topics.map((topic, index) => [index > 0 && ", ", topicOf(topic)]);
  return [left === 1 ? "1 copy stays" : `${count(left)} copies stay`, where.length > 0 && [", on ", where],
    ": with the same body."];
}
