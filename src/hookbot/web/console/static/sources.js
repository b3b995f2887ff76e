/** Sources: what each provider sent, what was refused and why, and the URL to paste there. */

import { get, post, root } from "./api.js";
import { agoOf, badge, messageLink, topicOf } from "./components.js";
import { byId, fill, foreign, h } from "./dom.js";
import { count } from "./format.js";
import { keepLoading, keyedList, refill } from "./refreshing.js";
import { copied } from "./tokens.js";

const FIGURES = ["accepted", "refused", "duplicates"];
/** What a test tells of if nothing is chosen: that it is one. */
const TEST = "test";

const showAlerts = keyedList(byId("alert-list"), ({ kind, name, since }) => `${kind} ${name} ${since}`, makeAlert);
const show = keyedList(byId("sources"), (source) => `${source.topic} ${source.provider}`, makeCard);
let events = {};
keepLoading(2, load);

async function load() {
  const [{ sources }, { alerts }] = await Promise.all([get("v1/sources"), get("v1/alerts")]);
  showAlerts(alerts);
  byId("alerts").hidden = alerts.length === 0;
  // Of a provider that has come with a reload, the events are not known yet.
  if (sources.some(({ provider }) => !events[provider])) ({ events } = await get("v1/sources/events"));
  show(sources);
  byId("none").hidden = sources.length > 0;
}

function makeAlert({ kind, since, sentence }) {
  const age = h("span");
  const text = h("div", null, foreign(sentence), h("div", { class: "hint" }, age));
  const element = h("li", null, text, badge(kind === "source" ? "silent" : "behind", "bad"));
  return { element, update: () => refill(age, "since ", agoOf(since)) };
}

function makeCard({ topic, provider, url, needs_token: needsToken, untestable }) {
  const state = h("p");
  const figures = h("dl", { class: "figures" });
  const times = h("p", { class: "hint" });
  const why = h("div");
  const head = h("div", { class: "card-head" }, h("h2", null, foreign(provider)), state);
  const paste = [copied(url, "Copy the URL"), needsToken && h("p", { class: "hint" }, "It takes a token as well: ",
    h("a", { href: `${root}start` }, "make its URL"), ".")];
  const test = untestable ? h("p", { class: "hint" }, `There is no test: ${untestable}.`) : sampleOf(topic, provider);
  const element = h("article", { class: "card stack" }, head, topicOf(topic), paste, figures, times, why, test);
  const update = (source) => {
    refill(state, stateOf(source));
    refill(figures, FIGURES.map((name) => h("div", null, h("dt", null, name), h("dd", null, count(source[name])))));
    refill(times, timesOf(source));
    refill(why, source.last_refused && whyOf(source));
  };
  return { element, update };
}

const refusedLast = ({ last_accepted, last_refused }) =>
  Boolean(last_refused) && (!last_accepted || Date.parse(last_refused) > Date.parse(last_accepted));

function stateOf(source) {
  if (refusedLast(source)) return badge("refuses", "bad");
  if (source.silent_since) return badge("silent", "bad");
  return source.last_accepted ? badge("accepts", "good") : badge("none yet");
}

function timesOf({ last_accepted: last, expect_every: every, silent_since: silent }) {
  return [
    last ? ["last accepted ", agoOf(last)] : "accepted none yet",
    every && ` · expected every ${every}`,
    silent && [" · silent since ", agoOf(silent)],
  ];
}

function whyOf(source) {
  return h("p", { class: refusedLast(source) ? "note bad" : "note" }, "Last refused ", agoOf(source.last_refused),
    source.why && [": ", foreign(source.why)]);
}

/** Button that sends a signed sample of an event, and what came of it. */
function sampleOf(topic, provider) {
  const outcome = h("p", { role: "status" });
  const names = [TEST, ...(events[provider] ?? []).filter((name) => name !== TEST)];
  const choice = h("select", { "aria-label": `Event to send to ${topic}` }, names.map((name) => h("option", null, name)));
  const label = `Send a test to ${topic}`;
  const button = h("button", { type: "button", "aria-label": label, onclick: send }, "Send a test");
  async function send() {
    button.disabled = true;
    try {
      const { id } = await post("v1/sources/test", { topic, event: choice.value });
      fill(outcome, badge("accepted", "good"), " ", messageLink(id, "see the message"));
    } catch (error) {
      fill(outcome, badge("refused", "bad"), ` ${error.message}`);
    }
    button.disabled = false;
  }
  return h("div", { class: "actions" }, choice, button, outcome);
}
