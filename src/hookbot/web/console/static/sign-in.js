/** Signing in: the token is sent in a header and becomes a cookie that no script can read. */

import { PLACE, root, send } from "./api.js";
import { byId, fill } from "./dom.js";

byId("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { token, path } = event.target.elements;
  const button = event.submitter;
  button.disabled = true;
  try {
    const found = read(token.value.trim());
    const parameters = { path: path.value.trim() || found.path };
    await send("POST", "sign-in", parameters, { headers: { Authorization: `Bearer ${found.token}` } });
    const place = sessionStorage.getItem(PLACE);
    sessionStorage.removeItem(PLACE);
    // A redirect to this page keeps the filters that stand behind `#`.
    location.replace(place ?? root + location.hash);
  } catch (error) {
    fill(byId("refused"), error.message);
    byId("refused").hidden = false;
    button.disabled = false;
    token.select();
  }
});

/** The token, and its path if it was pasted with its URL, such as `wss://TOKEN@hub.example.com/sub/acme/`. */
function read(text) {
  if (!text.includes("://")) return { token: text, path: "" };
  const { username, password, pathname } = new URL(text.replace(/^ws/, "http"));
  return { token: decodeURIComponent(password || username), path: decodeURIComponent(pathname) };
}
