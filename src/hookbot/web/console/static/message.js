/** One message: who vouches for it, its body, its headers, and what became of it. */

import { get, messagePath, page, root } from "./api.js";
import { bodyOf, fetchBody, SHOWN_BYTES } from "./body.js";
import { agoOf, badge, copy, empty, facts, failure, messageLink, timeOf, topicOf, verdictOf } from "./components.js";
import { DELETED, deleteMessage } from "./delete.js";
import { deliverAgain, deliverAgainById, giveToCursor } from "./deliver.js";
import { byId, fill, foreign, h } from "./dom.js";
import { counted, duration, fullTime, size } from "./format.js";
import { onKey } from "./keyboard.js";
import { session } from "./shell.js";
import { curl, headerText, hookbotPublish } from "./snippets.js";

/** A message as an element, which fills itself; `close` puts a button into its head. */
export class MessageView {
  #related = h("section", { class: "related" });
  #answer = h("section", { class: "answer", "aria-label": "Answer" });

  constructor(id, { close = null } = {}) {
    this.id = id;
    this.close = close;
    this.element = h("article", { class: "message", "aria-busy": "true" }, h("p", { class: "quiet-text" }, "Loading"));
    /** Fulfilled when the message is shown, or why it cannot be. */
    this.shown = this.#show();
  }

  async #show() {
    try {
      const [message, bytes] = await Promise.all([get(messagePath(this.id), { body: "none" }), fetchBody(this.id)]);
      fill(this.element, head(message, bytes, this.close), verdictCard(message),
        message.failed && failureCard(message.failed), message.reply && replyCard(message.reply),
        bodyOf(message, bytes),
        h("div", { class: "message-side" }, headersOf(message), factsOf(message), this.#related),
        this.#answer);
      this.#relate(message);
    } catch (error) {
      fill(this.element, failure(error));
    }
    this.element.removeAttribute("aria-busy");
  }

  async #relate(message) {
    try {
      const related = await get(messagePath(this.id, "/related"));
      fill(this.#related, relatedOf(related));
      if (related.answer) fill(this.#answer, await answerOf(related.answer, message));
    } catch (error) {
      fill(this.#related, failure(error));
    }
  }
}

function head(message, bytes, close) {
  const whole = bytes.length === message.size ? bytes : null;
  const snippet = (make) => async () => make(message, whole, (await session).url);
  return h("header", { class: "message-head" },
    h("div", { class: "message-title" },
      h("h2", { tabindex: -1 }, topicOf(message.topic)),
      message.event && foreign(message.event, { class: "event" }),
      close && closeButton(close)),
    h("p", { class: "quiet-text" },
      timeOf(message.time), " · ", agoOf(message.time), " · ", size(message.size), " · ",
      messageLink(message.id), " · ", topicLink(message)),
    h("div", { class: "actions" },
      !message.reply &&
        h("button", { type: "button", class: "primary", title: "r", onclick: () => deliverAgain(message) },
          message.failed ? "Retry" : "Deliver again"),
      h("button", { type: "button", onclick: () => giveToCursor(message) }, "Give to a cursor…"),
      h("button", { type: "button", onclick: () => deleteMessage(message) }, "Delete…"),
      menu("Copy as", {
        "curl command": snippet(curl),
        "hookbot command": snippet(hookbotPublish),
        "test fixture (JSON)": whole || message.size <= 4 * SHOWN_BYTES ? async () => fixture(message.id) : null,
        id: () => message.id,
      })));
}

const topicLink = ({ topic, id }) =>
  h("a", { href: `${root}#${new URLSearchParams({ topic, open: id })}` }, "only this topic");

function closeButton(onclick) {
  const properties = { type: "button", class: "quiet icon close", "aria-label": "Close", title: "Close (Esc)" };
  return h("button", { ...properties, onclick }, "✕");
}

/** The message as the JSON envelope that listeners get, which `from_envelope` reads. */
const fixture = async (id) => `${JSON.stringify(await get(messagePath(id)), null, 2)}\n`;

function menu(label, texts) {
  const details = h("details", { class: "menu" }, h("summary", { class: "button" }, label),
    h("div", { class: "menu-items" }, Object.entries(texts).map(([name, text]) => text &&
      h("button", { type: "button", class: "quiet", onclick: () => (copy(text), (details.open = false)) }, name))));
  details.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget && !details.contains(relatedTarget)) details.open = false;
  });
  return details;
}

function verdictCard(message) {
  const { verdict, verified } = message;
  return h("section", { class: `verdict ${verdict}`, "aria-label": "Verdict" },
    verdictOf({ verdict, provider: verified?.provider }),
    h("div", null, VERDICTS[verdict](message)));
}

const VERDICTS = {
  verified: ({ verified, time }) => [
    h("p", null, "Signed by ", h("strong", null, foreign(verified.provider)), ": the signature was right."),
    facts({
      Source: verified.source && topicOf(verified.source),
      Secret: `the ${ordinal(Number(verified.key))} of the source`,
      Signed: verified.signed_at !== undefined && signedAt(verified.signed_at, time),
    })],
  token: () => h("p", null, "The sender had a token that opens this topic."),
  unverified: () =>
    h("p", null, "Nobody vouches for the sender: the topic takes no token, and no signature was checked."),
};

function signedAt(seconds, received) {
  const signed = new Date(1000 * seconds);
  const age = (new Date(received) - signed) / 1000;
  const when = age < 0 ? `${duration(-age)} after it came, by the sender's clock` : `${duration(age)} before it came`;
  return [h("time", { datetime: signed.toISOString() }, fullTime(signed)), ", ", when];
}

const ordinal = (index) => ["first", "second", "third"][index] ?? `${index + 1}th`;

function failureCard({ router, topic, error, id }) {
  return h("section", { class: "note bad failed" },
    h("p", null, "The router ", h("strong", null, foreign(router)), " failed at it on ", topicOf(topic), ":"),
    h("p", { class: "error" }, foreign(error)),
    id && h("p", null, messageLink(id, "The original")));
}

function replyCard({ id, topic, status }) {
  return h("section", { class: "note" },
    h("p", null, "The reply of a listener, with status ", h("strong", null, status), ", to ",
      messageLink(id, "a message"), " on ", topicOf(topic), "."));
}

/** What a listener has answered to a message: status, time, body and headers, of which none is more than text. */
async function answerOf({ id, reply, time }, message) {
  const [answer, bytes] = await Promise.all([get(messagePath(id), { body: "none" }), fetchBody(id)]);
  const took = (new Date(time) - new Date(message.time)) / 1000;
  return [
    h("p", null, "A listener has ", messageLink(id, "answered"), " with status ", h("strong", null, reply.status),
      `, after ${duration(took)}.`),
    bodyOf(answer, bytes),
    headersOf(answer)];
}

function headersOf({ headers }) {
  const number = h("span", { class: "quiet-text" }, `${headers.length}, in their order`);
  return h("details", { class: "section", open: true },
    h("summary", null, h("h3", null, "Headers"), number),
    facts(headers.map(([name, value]) => [foreign(name), foreign(headerText(value))]), "headers"));
}

function factsOf(message) {
  const { id, time, query, hops, content_type: type, delivery, redelivered } = message;
  return h("details", { class: "section", open: true },
    h("summary", null, h("h3", null, "Facts")),
    facts({
      Id: h("span", { class: "id" }, id),
      Stored: fullTime(time),
      "Content type": type && foreign(type),
      Size: counted(message.size, "byte"),
      Query: query && foreign(query, { class: "id" }),
      Delivery: delivery && foreign(delivery, { class: "id" }),
      Hops: hops?.length && hops.map((hop, index) => [index > 0 && " → ", foreign(hop, { class: "id" })]),
      Redelivered: redelivered && "to a member of a group, which did not acknowledge it",
    }));
}

function relatedOf({ origin, duplicate_of, routed, replays, duplicates }) {
  const groups = Object.entries({
    "Made from": [origin].filter(Boolean),
    "Repeats": [duplicate_of].filter(Boolean),
    "Routed to": routed,
    "Delivered again as": replays,
    "Repeated by": duplicates,
  }).filter(([, messages]) => messages.length);
  if (!groups.length) return null;
  return [h("h3", null, "Related"), groups.map(([name, messages]) => [
    h("h4", null, name), h("ul", null, messages.map(relatedItem))])];
}

function relatedItem(message) {
  return h("li", null,
    messageLink(message.id, topicOf(message.topic)),
    message.event && foreign(message.event, { class: "event" }),
    message.failed && badge("failed", "bad"),
    timeOf(message.time));
}

// On a page of its own, the id is the end of the address.
if (page === "message") {
  const id = decodeURIComponent(location.pathname.split("/").at(-1));
  const view = new MessageView(id);
  document.title = `${id} · hookbot`;
  fill(byId("message"), view.element);
  onKey("r", () => deliverAgainById(id));
  document.addEventListener(DELETED, () => fill(byId("message"), empty("Deleted", "The message is gone.")));
  // Back to the list with its filters, if the reader came from there.
  onKey("Escape", () => (window.navigation?.canGoBack ? history.back() : location.assign(root)));
}
