/** The way to the first message: a topic, its URL, the command that publishes, what comes of it; and further URLs. */

import { lines, root } from "./api.js";
import { addToken, agoOf, badge, failure, messageLink, toast, topicOf } from "./components.js";
import { byId, fill, foreign, h } from "./dom.js";
import { fullTime, size } from "./format.js";
import { session } from "./shell.js";
import { quoted } from "./snippets.js";
import { copied, makeToken, pathTo, refusal } from "./tokens.js";

const UNSAFE = "/unsafe/";
const BODY = "hello, world";
// Enough to try it; what stays gets a URL of its own, with a name.
const TRIAL = "24h";

let waiting = new AbortController();
byId("first").addEventListener("submit", (event) => {
  event.preventDefault();
  begin(byId("first").elements.topic.value.trim());
});
byId("more").addEventListener("submit", (event) => {
  event.preventDefault();
  makeMore(new FormData(byId("more")));
});
session.then(suggest, () => {});

/** Suggest a topic that the reader may publish to, and say if there is none. */
function suggest({ publishes, sees }) {
  const [pattern = ""] = [...publishes, ...sees].filter((one) => !one.startsWith(UNSAFE));
  const topic = /(^|\/)$/.test(pattern) ? `${pattern}hello` : pattern;
  for (const form of ["first", "more"]) byId(form).elements.topic.value ||= topic;
  if (!publishes.length) fill(byId("publish"), h("p", { class: "note warning" },
    "You are signed in with no token to publish, so this page can make none. ", addToken(), " for ",
    h("code", null, "/"), ", or for a path such as ", h("code", null, "/pub/hello"), "."));
}

/** Make the URLs of a topic, show what to do with them, and wait for its first message. */
function begin(topic) {
  waiting.abort();
  waiting = new AbortController();
  for (const step of ["publish-step", "arrival-step", "listen-step"]) byId(step).dataset.open = "";
  waitFor(topic, waiting.signal);
  showUrl("publish", pathTo("pub", topic), (url, token) => [
    copied(url, "Copy the URL"),
    copied(`curl -d ${quoted(BODY)} ${quoted(url)}`, "Copy the command"),
    h("div", { class: "actions" },
      h("button", { type: "button", onclick: () => send(topic, token) }, "Send it from here")),
  ]);
  showUrl("listen", pathTo("sub", topic), (url) => copied(`hookbot listen ${quoted(url)}`, "Copy the command"));
}

async function showUrl(id, path, use) {
  const place = byId(id);
  try {
    const { url, token, expires } = await makeToken(path, { expires: TRIAL });
    fill(place, use(url, token), rangeOf(path, expires));
  } catch (error) {
    fill(place, refusal(error, path));
  }
}

/** What a token opens, and until when. */
function rangeOf(path, expires) {
  const beneath = path.endsWith("/") ? "everything beneath it" : "nothing else";
  const end = expires ? `until ${fullTime(expires)}` : "without an end";
  return h("p", { class: "hint" }, "The token opens ", foreign(path), ` and ${beneath}, ${end}.`);
}

async function send(topic, token) {
  const path = pathTo("pub", topic).split("/").map(encodeURIComponent).join("/");
  try {
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await fetch(`${root}..${path}`, { method: "POST", body: BODY, headers });
    if (!answer.ok) toast(await answer.text(), "bad");
  } catch {
    toast("The hub cannot be reached", "bad");
  }
}

async function waitFor(topic, signal) {
  const place = byId("arrival");
  fill(place, h("span", { class: "waiting" }), h("span", null, "Waiting for a message to ", topicOf(topic), "…"));
  try {
    for await (const line of lines("v1/live", { topic }, { signal })) {
      if (line.type === "message") return fill(place, badge("it came", "good"), arrivalOf(line.message));
    }
    throw new Error("the hub has ended the stream: make the URL again");
  } catch (error) {
    if (error.name !== "AbortError") fill(place, failure(error));
  }
}

const arrivalOf = ({ id, topic, size: bytes, time }) =>
  h("span", null, topicOf(topic), ` · ${size(bytes)} · `, agoOf(time), " · ", messageLink(id, "see the message"));

async function makeMore(form) {
  const path = pathTo(form.get("action"), form.get("topic").trim());
  try {
    const { url, expires } = await makeToken(path, { expires: form.get("expires"), name: form.get("name").trim() });
    fill(byId("made"), copied(url, "Copy the URL"), rangeOf(path, expires));
  } catch (error) {
    fill(byId("made"), refusal(error, path));
  }
}
