/** Quotas: what is used of each, and how often it was the reason of a refusal. */

import { get } from "./api.js";
import { byId, foreign, h } from "./dom.js";
import { count, size } from "./format.js";
import { keepLoadingForOperators, refill } from "./refreshing.js";

keepLoadingForOperators(5, load);

async function load() {
  const { quotas } = await get("v1/quotas");
  byId("quotas").hidden = quotas.length === 0;
  refill(byId("limits"), quotas.map(row));
}

function row({ prefix, kind, limit, written, used, refused }) {
  const now = kind === "bytes" ? size(used) : count(used);
  return h("tr", null,
    h("td", { "data-label": "Topics" }, prefix ? foreign(prefix) : "all topics"),
    h("td", { "data-label": "Quota" }, `${kind}, ${written}`),
    h("td", { "data-label": "Used" }, h("meter", { max: limit, value: used, "aria-label": `${kind} used` }), ` ${now}`),
    h("td", { class: "number", "data-label": "Refused" }, count(refused)));
}
