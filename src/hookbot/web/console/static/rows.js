/** Rows of the live page: messages, refused requests, and what was left out. */

import { badge, facts, messageLink, timeOf, topicOf, verdictOf } from "./components.js";
import { foreign, h } from "./dom.js";
import { count, counted, size } from "./format.js";

let leftOut = 0;

/** What identifies a line of the live stream: a message, a refused request, or how many were left out. */
export function keyOf(item) {
  if (item.type === "message") return item.message.id;
  if (item.type === "refusal") return `refusal ${item.refusal.first}`;
  return (item.key ??= `left out ${++leftOut}`);
}

/** The row of the list for a line of the live stream. */
export const rowOf = (item) => ROWS[item.type](item[item.type] ?? item);

const ROWS = { message: messageRow, refusal: refusalRow, left_out: leftOutRow };

const cell = (properties, ...children) => h("td", { role: "cell", ...properties }, children);

function messageRow(message) {
  const link = messageLink(message.id, topicOf(message.topic));
  link.classList.add("open");
  return h("tr", { role: "row", dataset: { id: message.id } },
    cell({ class: "when" }, timeOf(message.time)),
    cell({ class: "who" }, verdictOf(message)),
    cell({ class: "what" },
      link,
      message.event && foreign(message.event, { class: "event" }),
      marksOf(message)),
    cell({ class: "number" }, size(message.size)));
}

/** What is special about a message, in a word each. */
function marksOf({ failed, reply, replay_of, duplicate_of, routed_from }) {
  return [
    failed && h("span", { class: "failed-router" },
      badge("failed", "bad"), foreign(failed.error, { class: "quiet-text" })),
    replay_of && badge("again"),
    duplicate_of && badge("duplicate"),
    reply && badge(`reply ${reply.status}`),
    routed_from && !failed && !reply && badge("routed"),
  ];
}

function refusalRow(refusal) {
  const why = cell({ class: "why", hidden: true }, refusalFacts(refusal));
  const button = h("button", { type: "button", class: "open", "aria-expanded": "false", onclick: () => {
    why.hidden = !why.hidden;
    button.setAttribute("aria-expanded", !why.hidden);
  } }, topicOf(refusal.topic ?? refusal.path));
  return h("tr", { role: "row", class: "refused" },
    cell({ class: "when" }, timeOf(refusal.last)),
    cell({ class: "who" }, badge(`refused ${refusal.status}`, "refused")),
    cell({ class: "what" }, button, foreign(refusal.reason, { class: "reason" })),
    cell({ class: "number" }, refusal.count > 1 && `×${count(refusal.count)}`),
    why);
}

function refusalFacts({ reason, method, path, client, provider, delivery, count: times, time, last }) {
  const said = { Why: reason, Request: `${method} ${path}`, From: client, Provider: provider, Delivery: delivery };
  return facts([
    ...Object.entries(said).map(([name, value]) => [name, value && foreign(value)]),
    ["Times", times > 1 && [count(times), ", from ", timeOf(time), " to ", timeOf(last)]],
  ]);
}

function leftOutRow({ number }) {
  return h("tr", { role: "row", class: "left-out", dataset: { leftOut: number } },
    cell(null, `${counted(number, "message")} left out: more came at once than can be read`));
}
