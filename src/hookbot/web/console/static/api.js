/** The HTTP API of the hub, for a page that is signed in by its cookie. Paths are relative to `/hookbot/`. */

/** Relative path from this page to `/hookbot/`, such as `../`: the console works under any path of a proxy. */
export const { root, page } = document.documentElement.dataset;

/** Key of the session storage under which the page is remembered to which signing in leads back. */
export const PLACE = "place";

/** A refusal of the hub: `message` is its sentence. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail || `the hub answered with status ${status}`);
    this.status = status;
  }
}

/** URL of a path, with those parameters that are not empty. */
export function url(path, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const query = new URLSearchParams(given).toString();
  return root + path + (query && `?${query}`);
}

/** Path of a message, or of what belongs to it, such as its "/body". */
export const messagePath = (id, rest = "") => `v1/messages/${encodeURIComponent(id)}${rest}`;

/** The JSON answer to a request: `await get("v1/messages", {topic: "acme/"})`. Raises `Refused`. */
export const get = async (path, parameters, options) => (await send("GET", path, parameters, options)).json();
export const post = async (path, parameters, options) => (await send("POST", path, parameters, options)).json();
export const del = async (path, parameters, options) => (await send("DELETE", path, parameters, options)).json();

/** The bytes of an answer. */
export async function bytes(path, parameters, options) {
  return new Uint8Array(await (await send("GET", path, parameters, options)).arrayBuffer());
}

/** Each line of a JSON-lines answer, parsed, as it arrives: `for await (const line of lines("v1/live", filters))`. */
export async function* lines(path, parameters, { method = "GET", ...options } = {}) {
  const answer = await send(method, path, parameters, options);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) if (part) yield JSON.parse(part);
    }
  } finally {
    // Ends the request also if the caller leaves the loop.
    reader.cancel().catch(() => {});
  }
}

/** The answer to a request, if the hub has not refused it. A session that is over leads to signing in, and back. */
export async function send(method, path, parameters, { headers, signal } = {}) {
  let answer;
  try {
    answer = await fetch(url(path, parameters), {
      method,
      signal,
      headers: { Accept: "application/json", "Hookbot-Console": "1", ...headers },
      cache: "no-store",
    });
  } catch (error) {
    if (error.name !== "AbortError") tell("lost");
    throw error.name === "AbortError" ? error : new Refused(0, "the hub cannot be reached");
  }
  tell("connected");
  if (answer.status === 401 && page !== "sign-in") {
    rememberPlace();
    location.assign(`${root}sign-in`);
  }
  if (!answer.ok) throw new Refused(answer.status, await detail(answer));
  return answer;
}

/** Let signing in lead back to this page. */
export const rememberPlace = () => sessionStorage.setItem(PLACE, location.href);

async function detail(answer) {
  const text = (await answer.text()).trim();
  try {
    return JSON.parse(text).detail ?? text;
  } catch {
    // The status is in the first words of the sentence for those who only see that.
    return text.replace(/^\d{3} [A-Z][A-Za-z -]*: /, "");
  }
}

/** Tell the header how the connection is: "connecting", "connected" or "lost". */
export function tell(state) {
  document.dispatchEvent(new CustomEvent("connection", { detail: state }));
}

/** Run `refresh` now, then every so many seconds while the page is seen; a failure is handed to `failed`. */
export async function poll(seconds, refresh, failed = () => {}) {
  for (;;) {
    const began = performance.now();
    if (!document.hidden) {
      try {
        await refresh();
      } catch (error) {
        failed(error);
      }
    }
    // Of a hub with thousands of listeners, whoever looks at it takes a tenth of the time at most.
    await pause(Math.max(seconds, (10 * (performance.now() - began)) / 1000));
  }
}

/** Wait for so many seconds. */
export const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
