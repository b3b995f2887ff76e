/** A message as something to paste: a curl command, a `hookbot publish` command, a fixture. */

import { hasInvisible } from "./dom.js";
import { textOf } from "./body.js";

// Of the connection, not of the message; curl and hookbot set their own.
const OF_THE_CONNECTION = new RegExp(
  "^(host|content-length|connection|keep-alive|transfer-encoding|te|trailer|upgrade|expect|accept-encoding|" +
    "authorization|proxy-.*|x-forwarded-.*|forwarded|via|idempotency-key)$",
  "i",
);

/** A command for a POSIX shell that publishes the message once more; `$HOOKBOT_TOKEN` is set by whoever runs it. */
export function curl(message, bytes, base) {
  const token = message.topic.startsWith("/unsafe/") ? [] : [`-H "Authorization: Bearer $HOOKBOT_TOKEN"`];
  const type = headersOf(message).some(([name]) => /^content-type$/i.test(name)) ? [] : ["-H 'Content-Type:'"];
  const headers = headersOf(message).map(([name, value]) => `-H ${quoted(value ? `${name}: ${value}` : `${name};`)}`);
  const body = `--data-binary ${bytes ? "@-" : quoted(`@${message.id}`)}`;
  const options = ["-sS", "--globoff", ...token, ...headers, ...type, body];
  return piped(message, bytes, ["curl", ...options, quoted(publishUrl(message, base))]);
}

/** As `curl`, with the command of this hub. */
export function hookbotPublish(message, bytes, base) {
  const given = headersOf(message).filter(([, value]) => value);
  const headers = given.map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`);
  const file = bytes ? [] : [message.id];
  return piped(message, bytes, ["hookbot publish", ...headers, quoted(publishUrl(message, base)), ...file]);
}

/** The command, which reads the body from a pipe; without `bytes`, from the file that the page downloads. */
function piped(message, bytes, words) {
  const command = words.join(" \\\n  ");
  if (!bytes) return `# The body is too large to be pasted: download it as ${message.id}.\n${command}\n`;
  const text = textOf("", bytes);
  // A terminal acts on control characters that are pasted, and a shell drops NUL.
  if (text !== null && !hasInvisible(text) && !text.includes("\t")) return `printf %s ${quoted(text)} | ${command}\n`;
  return `printf %s '${bytes.toBase64?.() ?? base64(bytes)}' | base64 -d | ${command}\n`;
}

function base64(bytes) {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** A text as one word of a POSIX shell. */
export const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** URL at which a topic is published to, beneath that of the hub, which has no slash at its end. */
export function publishUrl({ topic, query }, base) {
  const unsafe = topic.startsWith("/unsafe/");
  const name = (unsafe ? topic.slice("/unsafe/".length) : topic).split("/").map(encodeURIComponent).join("/");
  return new URL(`${unsafe ? "unsafe/" : ""}pub/${name}${query ? `?${query}` : ""}`, `${base}/`).href;
}

/** Headers to be sent again: those of the message that a shell can carry. */
function headersOf({ headers }) {
  return headers
    .filter(([name]) => !OF_THE_CONNECTION.test(name))
    .map(([name, value]) => [name, headerText(value)])
    .filter(([, value]) => !hasInvisible(value));
}

/** Value of a header as its sender meant it: its bytes, which come as Latin-1, are mostly UTF-8. */
export function headerText(value) {
  try {
    // Beyond Latin-1 there are no bytes: it is what a router made.
    if (/[^\0-\xff]/.test(value)) return value;
    const bytes = Uint8Array.from(value, (character) => character.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return value;
  }
}
