/** Routers, how they are, and what failed in them. */

import { get, messagePath, post } from "./api.js";
import { agoOf, badge, failure, messageLink, toast, topicOf } from "./components.js";
import { missing, retried, retryAll } from "./deliver.js";
import { byId, fill, foreign, h } from "./dom.js";
import { count } from "./format.js";
import { keepLoadingForOperators, keyedList, refill } from "./refreshing.js";

// A router's error ends with the id of the message that it failed on.
const ID = /([a-z]{8}-[0-9]{15})/;
const FIGURES = ["lag", "routed", "published", "retried", "failed", "restarts"];
const ALARMING = ["failed", "restarts"];
const KINDS = { running: "good", standby: "plain", starting: "plain" };
const SHOWN = 20;

const show = keyedList(byId("routers"), (router) => router.name, makeCard);
keepLoadingForOperators(2, load);

async function load() {
  const { routers } = await get("v1/routers");
  show(routers);
  byId("none").hidden = routers.length > 0;
}

function makeCard({ name }) {
  const state = h("p");
  const figures = h("dl", { class: "figures" });
  const error = h("div");
  const head = h("div", { class: "card-head" }, h("h2", null, name), state);
  const topics = h("p", { class: "hint" });
  const element = h("article", { class: "card stack" }, head, topics, figures, error, failuresOf(name));
  const update = (router) => {
    refill(state, badge(router.state, KINDS[router.state] ?? "bad"));
    refill(topics, router.topics.length ? ["reads ", topicsOf(router.topics)] : "reads nothing", holderOf(router));
    refill(figures, FIGURES.map((figure) => figureOf(figure, router[figure])));
    refill(error, router.error && h("p", { class: "note bad" }, linked(router.error)));
  };
  return { element, update };
}

/** An error whose message is a link. */
const linked = (error) => error.split(ID).map((part, i) => (i % 2 ? messageLink(part) : foreign(part)));

const topicsOf = (topics) => topics.flatMap((topic, i) => [i > 0 && ", ", topicOf(topic)]);
const holderOf = ({ holder }) => holder && [" · runs on ", foreign(holder)];

function figureOf(name, number) {
  const alarming = ALARMING.includes(name) && number > 0;
  return h("div", { class: alarming ? "alarming" : "" }, h("dt", null, name), h("dd", null, count(number)));
}

/** What failed in a router, which is read when it is opened. */
function failuresOf(name) {
  const place = h("div", { class: "stack" });
  const details = h("details", null, h("summary", null, "Retry what failed"), place);
  details.addEventListener("toggle", () => details.open && showFailures(name, place));
  return details;
}

async function showFailures(name, place) {
  try {
    const reload = () => showFailures(name, place);
    const topics = [`hookbot/failed/${name}`, `/unsafe/hookbot/failed/${name}`];
    const pages = await Promise.all(topics.map((topic) => get("v1/messages", { topic, limit: SHOWN })));
    const lists = pages.map((page, i) => page.messages.length > 0 && failuresAt(topics[i], page));
    const retry = () => retryAll({ router: name }).then(reload);
    fill(place, lists.some(Boolean)
      ? [h("div", { class: "actions" }, h("button", { type: "button", onclick: retry }, "Retry all…")), lists]
      : h("p", { class: "hint" }, "Nothing that failed here is stored."));
  } catch (error) {
    fill(place, failure(error));
  }
}

function failuresAt(topic, { messages, before }) {
  const number = `${count(messages.length)}${before ? "+" : ""}`;
  return [
    h("p", null, topicOf(topic), ` · ${number}`),
    h("ul", { class: "failures" }, messages.map(failureOf)),
  ];
}

function failureOf({ id, time, failed }) {
  const place = h("div");
  const label = `Retry ${id}`;
  const button = h("button", { type: "button", "aria-label": label, onclick: retry }, "Retry");
  const original = failed && messageLink(failed.id, "the message");
  const text = h("div", null, messageLink(id, failed ? foreign(failed.error) : id), h("div", { class: "hint" },
    agoOf(time), failed && [" · ", topicOf(failed.topic), " · "], original));
  async function retry() {
    button.disabled = true;
    try {
      fill(place, retried(await post(messagePath(id, "/retry"))));
    } catch (error) {
      if (error.status === 403) return fill(place, missing("Not with your tokens: ", error.message));
      button.disabled = false;
      toast(error.message, "bad");
    }
  }
  return h("li", null, text, fill(place, button));
}
