/** The filters of the live page: a form, and the part of the address behind `#`, which no server and no log sees. */

import { byId, fill } from "./dom.js";
import { pause } from "./api.js";

const HIDDEN = ["verdict", "provider", "event", "where"];
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

/** Whether messages, and whether refused requests are shown; these have no sender that could be filtered by. */
export function wanted() {
  const { show, ...values } = address();
  const bySender = HIDDEN.some((name) => values[name]);
  return { messages: show !== "refused", refusals: show !== "accepted" && !bySender };
}

/** Keep form and address the same, and call `changed` when one of them has changed. */
export function watchFilters(changed) {
  let typed = 0;
  form.addEventListener("input", async () => {
    const turn = ++typed;
    await pause(0.25);
    if (turn !== typed) return;
    setAddress(Object.fromEntries(NAMES.map((name) => [name, form.elements[name].value.trim()])));
    update();
    changed();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const button of shows) button.addEventListener("click", () => apply({ show: button.value }));
  byId("clear").addEventListener("click", () => apply(Object.fromEntries(NAMES.map((name) => [name, ""]))));
  addEventListener("hashchange", () => apply({}));

  function apply(values) {
    setAddress(values);
    const now = address();
    for (const name of NAMES) form.elements[name].value = now[name] ?? "";
    update();
    changed();
  }
  const now = address();
  for (const name of NAMES) form.elements[name].value = now[name] ?? "";
  byId("more").open = HIDDEN.some((name) => now[name]);
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
}
