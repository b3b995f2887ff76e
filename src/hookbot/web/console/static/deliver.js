/** Deliver again: one message, one message and what follows it to one cursor, or all that a filter shows. */

import { get, lines, messagePath, post } from "./api.js";
import { addToken, ask, facts, messageLink, openDialog, toast, toastError, topicOf } from "./components.js";
import { fill, foreign, h } from "./dom.js";
import { count, counted } from "./format.js";
import { session } from "./shell.js";
import { pathTo } from "./tokens.js";

/** What publishes messages again: all of them each time, or those that failed, each once; and the words for it. */
const REDELIVERING = {
  path: "v1/redeliver",
  question: "Deliver all of these again?",
  which: " that the filter shows, oldest first, each to its own topic and marked as delivered again.",
  action: "Deliver all",
  doing: "Delivering again",
  done: "Delivered",
};
const RETRYING = {
  path: "v1/retry",
  question: "Retry all of these?",
  which: " that failed, oldest first, each to the topic where it failed. Those retried before do not go back again.",
  action: "Retry all",
  doing: "Retrying",
  done: "Retried",
};

/** Publish a message once more, after a question; a failed one goes back to the topic on which its router failed. */
export async function deliverAgain(message) {
  await attempt(async () => {
    const topic = message.failed?.topic ?? message.topic;
    const { publishes } = await session;
    const may = publishes.some((pattern) => covers(pattern, topic));
    const yes = await ask({
      title: message.failed ? "Retry it?" : "Deliver again?",
      content: [
        h("p", null, "The hub publishes it once more to ", topicOf(topic),
          ", with the same headers and body, marked as delivered again. Everybody who listens there gets it."),
        !may && missing("That takes a token for ", h("code", null, foreign(pathTo("pub", topic)))),
      ],
      action: message.failed ? "Retry" : "Deliver again",
      possible: may,
    });
    if (!yes) return;
    if (message.failed) return toast(retried(await post(messagePath(message.id, "/retry"))));
    const { id } = await post(messagePath(message.id, "/redeliver"));
    toast(["Delivered again: ", messageLink(id)]);
  });
}

/** What to say of the answer to a retry. */
export const retried = ({ id, before }) => [before ? "Was retried before: " : "Retried: ", messageLink(id)];

/** What the tokens of the session lack, and where to add one. */
export const missing = (...what) => h("p", { class: "note warning" }, what, ". ", addToken());

/** As `deliverAgain`, of a message of which only the id is known. */
export const deliverAgainById = (id) =>
  attempt(async () => deliverAgain(await get(messagePath(id), { body: "none" })));

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
  return covers(wanted, topic) || (Boolean(recursive) && topic.startsWith(`${wanted}/`));
}

/** Whether a topic is a pattern, or beneath it if that ends in a slash; the empty one is that of all safe topics. */
function covers(pattern, topic) {
  if (pattern === "") return !topic.startsWith("/");
  return topic === pattern || (pattern.endsWith("/") && topic.startsWith(pattern));
}

/** Publish once more all stored messages that the filters show: count, ask, and show how far it is. */
export const deliverAll = (filters) => publishAll(REDELIVERING, filters);

/** As `deliverAll`, what routers have failed at. */
export const retryAll = (filters) => publishAll(RETRYING, filters);

async function publishAll(how, filters) {
  await attempt(async () => {
    const { number, complete, until, problem } = await countOf(how, filters);
    const counts = counted(number, "message");
    const yes = await ask({
      title: how.question,
      content: [
        problem ?? h("p", null, h("strong", null, complete ? counts : `At least ${counts}`),
          how.which),
        facts(Object.entries(filters).map(([name, value]) => [name, foreign(value)])),
      ],
      action: how.action,
      danger: true,
      possible: number > 0,
    });
    // What has come meanwhile is not among them.
    if (yes) await deliverWithProgress(how, { ...filters, until });
  });
}

/** How many messages would be delivered, or the problem that there is no token for one of them. */
async function countOf({ path }, filters) {
  try {
    return await post(path, { ...filters, count: "only" });
  } catch (error) {
    if (error.status !== 403) throw error;
    return { number: 0, problem: missing("Not with your tokens: ", error.message) };
  }
}

/** Deliver, and show how far it is: part by part, each after a question, and again where a connection broke off. */
async function deliverWithProgress({ path, doing, done: verb }, range) {
  const abort = new AbortController();
  const bar = h("progress", { "aria-label": verb });
  const state = h("p", { role: "status" }, "Starting");
  const { dialog, actions } = openDialog(doing, [bar, state]);
  dialog.addEventListener("close", () => abort.abort());
  // With the same key, what has been delivered is not delivered twice.
  const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const headers = path === RETRYING.path ? {} : { "Idempotency-Key": key };
  const options = { method: "POST", signal: abort.signal, headers };

  function offer(close, label, act) {
    const more = label && h("button", { type: "button", class: "primary", onclick: act }, label);
    fill(actions, h("button", { type: "button", onclick: () => dialog.close() }, close), more);
    actions.lastChild.focus();
  }

  /** Deliver from a message on; `before` were delivered in earlier parts. */
  async function run(from, before) {
    offer("Cancel");
    let done = before;
    try {
      for await (const line of lines(path, { ...range, from }, options)) {
        if (line.type === "error") throw new Error(line.detail);
        done = before + line.done;
        const of = line.type === "done" ? line.done : line.of;
        if (of !== null) [bar.max, bar.value] = [before + of, done];
        fill(state, counted(done, "message"), of === null ? " so far" : ` of ${count(before + of)}`);
        if (line.type === "done") return end(line.next, done, line.before ?? 0);
      }
      throw new Error("the connection broke off");
    } catch (error) {
      if (error.name === "AbortError") return toast(`Cancelled after ${counted(done, "message")}`, "bad");
      fill(state, `Stopped after ${counted(done, "message")}: ${error.message}`);
      offer("Close", "Try again", () => run(from, before));
    }
  }

  /** Of those that were done, `earlier` of the last part had been retried before. */
  function end(next, done, earlier) {
    const told = [`${verb} ${counted(done - earlier, "message")}.`, earlier && `${count(earlier)} retried before.`,
      next && "There are more."];
    fill(state, told.filter(Boolean).join(" "));
    if (next) offer("Close", "Go on", () => run(next, done));
    else offer("Close");
  }
  await run(undefined, 0);
}

/** Do something; if it fails, say why. */
export async function attempt(act) {
  try {
    await act();
  } catch (error) {
    toastError(error);
  }
}
