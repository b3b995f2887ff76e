/** The frame of every page that is signed in: the hub's name, the connection, the alerts, the help, and the session. */

import { get, poll, rememberPlace } from "./api.js";
import { byId, fill } from "./dom.js";
import { clock, count } from "./format.js";
import { onKey } from "./keyboard.js";

/** What the one who is signed in may do: the answer of `GET v1/session`. */
export const session = get("v1/session");

document.addEventListener("connection", ({ detail }) => {
  const connection = byId("connection");
  // Unchanged text is not announced again.
  if (connection.dataset.state === detail) return;
  connection.dataset.state = detail;
  fill(connection, detail);
});

session.then(
  ({ url, head, operator, sees, expires }) => {
    const name = new URL(url).host;
    fill(byId("hub-name"), name);
    document.title = `${document.title.replace(/ · hookbot$/, "")} · ${name}`;
    const scope = operator ? "an operator" : `sees ${sees.map((pattern) => pattern || "all topics").join(", ")}`;
    const end = expires ? `, until ${clock(expires)}` : "";
    fill(byId("hub-facts"), `head ${head} · ${scope}${end}`);
  },
  () => {},
);

const alertCount = byId("alert-count");
poll(10, async () => {
  const { alerts } = await get("v1/alerts");
  fill(alertCount, alerts.length > 0 && `${count(alerts.length)} ${alerts.length === 1 ? "alert" : "alerts"}`);
  alertCount.hidden = alerts.length === 0;
});

document.addEventListener("click", ({ target }) => target.closest("a.add-token") && rememberPlace());

const help = byId("help");
byId("help-button").addEventListener("click", () => help.showModal());
onKey("?", () => help.showModal());
