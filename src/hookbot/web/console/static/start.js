/** The way to the first message: a topic, its URL, the command that publishes, and what comes of it; and further URLs. */

import { lines, root } from "./api.js";
import { agoOf, badge, failure, messageLink, toast, topicOf } from "./components.js";
import { byId, fill, h } from "./dom.js";
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
  for (const form of ["first", "more"]) byId(form).elements.topic.value ||= /(^|\/)$/.test(pattern) ? `${pattern}hello` : pattern;
  if (!publishes.length) fill(byId("publish"), h("p", { class: "note warning" },
    "You are signed in with no token to publish, so this page can make none: sign in with one for ", h("code", null, "/"),
    ", or for a path such as ", h("code", null, "/pub/hello"), "."));
}

/** Make the URLs of a topic, show what to do with them, and wait for its first message. */
function begin(topic) {
  waiting.abort();
  waiting = new AbortController();
  for (const step of ["publish-step", "arrival-step", "listen-step"]) byId(step).dataset.open = "";
  waitFor(topic, waiting.signal);
  showUrl("publish", pathTo("pub", topic), (url, token) => [copied(url, "Copy the URL"), copied(`curl -d ${quoted(BODY)} ${quoted(url)}`, "Copy the command"),
    h("div", { class: "actions" }, h("button", { type: "button", onclick: () => send(topic, token) }, "Send it from here"))]);
  showUrl("listen", pathTo("sub", topic), (url) => copied(`hookbot listen ${quoted(url)}`, "Copy the command"));
}

async function showUrl(id, path, use) {
  const place = byId(id);
  try {
    const { url, token, expires } = await makeToken(path, { expires: TRIAL });
    fill(place, use(url, token), h("p", { class: "hint" }, `The token opens ${path} and nothing else, until ${fullTime(expires)}.`));
  } catch (error) {
    fill(place, refusal(error, path));
  }
}

async function send(topic, token) {
  const path = pathTo("pub", topic).split("/").map(encodeURIComponent).join("/");
  try {
    const answer = await fetch(`${root}..${path}`, { method: "POST", body: BODY, headers: { Authorization: `Bearer ${token}` } });
    if (!answer.ok) toast(await answer.text(), "bad");
  } catch {
    toast("The hub cannot be reached", "bad");
  }
}

async function waitFor(topic, signal) {
  const place = byId("arrival");
  fill(place, h("span", { class: "waiting" }), "Waiting for a message to ", topicOf(topic), "…");
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
    fill(byId("made"), copied(url, "Copy the URL"),
      h("p", { class: "hint" }, `It opens ${path}${path.endsWith("/") ? " and everything beneath" : ""} ${expires ? `until ${fullTime(expires)}` : "without an end"}.`));
  } catch (error) {
    fill(byId("made"), refusal(error, path));
  }
}
