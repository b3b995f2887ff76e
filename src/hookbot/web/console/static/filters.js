/** The filters of the live page: a form, and the part of the address behind `#`, which no server and no log sees. */

import { byId, fill } from "./dom.js";
import { pause } from "./api.js";

const OF_MESSAGES = ["verdict", "event", "where"];
const HIDDEN = ["provider", ...OF_MESSAGES];
const NAMES = ["topic", "text", ...HIDDEN];
const form = byId("filters");
const shows = [...form.querySelectorAll("[name=show]")];

/** What the address says: the filters, which of all to `show`, and the id of the message that is `open`. */
export const address = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/** Put values into the address, in place of those that it has; empty ones are left out. */
export function setAddress(values) {
  const merged = Object.entries({ ...address(), ...values }).filter(([, value]) => value);
  const hash = new URLSearchParams(merged).toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

/** The filters as the API takes them. */
export function filters() {
  const values = address();
  return Object.fromEntries(NAMES.filter((name) => values[name]).map((name) => [name, values[name]]));
}

/** Whether messages, and whether refused requests are shown; these have no event, no verdict, and no envelope. */
export function wanted() {
  const { show, ...values } = address();
  const ofMessages = OF_MESSAGES.some((name) => values[name]);
  return { messages: show !== "refused", refusals: show !== "accepted" && !ofMessages };
}

/** Keep form and address the same, and call `changed` when one of them has changed. */
export function watchFilters(changed) {
  let typed = 0;
  form.addEventListener("input", async () => {
    const turn = ++typed;
    await pause(0.25);
    if (turn !== typed) return;
    setAddress(values());
    update();
    changed();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const button of shows) button.addEventListener("click", () => apply({ show: button.value }));
  byId("clear").addEventListener("click", () => apply(Object.fromEntries(NAMES.map((name) => [name, ""]))));
  addEventListener("hashchange", () => apply({}));

  function apply(changes) {
    setAddress(changes);
    show();
    changed();
  }
  // What was typed before this module was there counts more than the address.
  const begun = Object.entries(values()).filter(([, value]) => value);
  setAddress(Object.fromEntries(begun));
  show();
  byId("more").open = HIDDEN.some((name) => address()[name]);
}

const values = () => Object.fromEntries(NAMES.map((name) => [name, form.elements[name].value.trim()]));

function show() {
  const now = address();
  for (const name of NAMES) form.elements[name].value = now[name] ?? "";
  update();
}

function update() {
  const now = address();
  for (const button of shows) button.setAttribute("aria-pressed", button.value === (now.show ?? ""));
  const hidden = HIDDEN.filter((name) => now[name]).length;
  fill(byId("more-count"), hidden ? ` · ${hidden}` : "");
  const any = NAMES.some((name) => now[name]);
  byId("clear").hidden = !any;
  byId("deliver-all").hidden = !any || now.show === "refused";
  byId("delete-all").hidden = !now.topic || now.show === "refused";
}
