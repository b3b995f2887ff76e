/** URLs with a token of their own, narrowed from those that the reader is signed in with. */

import { post } from "./api.js";
import { addToken, copyButton } from "./components.js";
import { foreign, h } from "./dom.js";
import { quoted } from "./snippets.js";

const UNSAFE = "/unsafe/";

/** The path that publishes (`pub`) or subscribes (`sub`) to a topic. */
export function pathTo(action, topic) {
  const prefix = topic.startsWith(UNSAFE) ? UNSAFE : "/";
  return `${prefix}${action}/${topic.replace(/^\/(unsafe\/)?/, "")}`;
}

/** A token for a path, with its URL and its end: `{token, url, expires}`. Raises `Refused` if none opens the path. */
export const makeToken = (path, { expires, name } = {}) => post("v1/tokens", { path, expires, name });

/** A text to copy: a URL, or a command line. */
export function copied(text, label = "Copy") {
  return h("div", { class: "copied" }, h("code", null, foreign(text)), copyButton(label, text));
}

/** That no token was made, and what would help. */
export function refusal(error, path) {
  return h("div", { class: "note warning", role: "alert" }, `${error.message}. `, addToken(), " that opens ",
    h("code", null, path), ", or make the URL where the hub's key is: ",
    h("code", null, `hookbot make-tokens ${quoted(path)}`));
}
