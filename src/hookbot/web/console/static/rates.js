/** Ten minutes of rates, which the page samples itself each second: a longer history is Prometheus's business. */

import { get } from "./api.js";
import { facts } from "./components.js";
import { byId, fill, h, svg } from "./dom.js";
import { ago, count, duration, size } from "./format.js";
import { keepLoadingForOperators, refill } from "./refreshing.js";

const SPAN_S = 600;
// Until so much has been seen, the graphs show less, so that they soon show something.
const SPANS_S = [60, 120, 300, SPAN_S];
// Behind a balancer, any hub may answer: the graphs are those of one, until it has been silent for so long.
const PATIENCE_S = 15;
const WIDTH = 600;
const HEIGHT = 100;
const KEPT = "hookbot-rates";
const STATS = ["hub", "published", "published_bytes", "delivered", "refused", "subscribers", "commits", "commit_s"];

const perSecond = (name) => (from, to) => (to[name] - from[name]) / (to.s - from.s);
const shortRate = (rate) => (rate && rate < 10 ? rate.toFixed(1) : count(Math.round(rate)));
const milliseconds = (ms) => `${ms < 10 ? ms.toFixed(1) : count(Math.round(ms))} ms`;
const GRAPHS = [
  { name: "Published", unit: "messages a second", value: perSecond("published"), text: shortRate },
  { name: "Bodies", unit: "published a second", value: perSecond("published_bytes"), text: size },
  { name: "Delivered", unit: "messages a second", value: perSecond("delivered"), text: shortRate },
  { name: "Refused", unit: "requests a second", value: perSecond("refused"), text: shortRate },
  { name: "Subscribers", unit: "connected now", value: (_, to) => to.subscribers, text: count },
  { name: "Commit time", unit: "for each commit, on average", value: commitTime, text: milliseconds },
];

/** Mean milliseconds of the commits between two samples; null if there was none. */
function commitTime(from, to) {
  const commits = to.commits - from.commits;
  return commits > 0 ? (1000 * (to.commit_s - from.commit_s)) / commits : null;
}

let updates = [];
let samples = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
// Other pages do not sample, and leave these alone.
addEventListener("pagehide", () => sessionStorage.setItem(KEPT, JSON.stringify(samples)));
keepLoadingForOperators(1, load);
keepLoadingForOperators(10, loadBudgets);

async function load() {
  const stats = await get("v1/stats");
  const sample = { s: Date.parse(stats.time) / 1000, ...Object.fromEntries(STATS.map((name) => [name, stats[name]])) };
  const last = samples.at(-1);
  if (last && sample.hub !== last.hub) {
    if (sample.s - last.s < PATIENCE_S) return;
    samples = [];
  }
  if (!samples.length || sample.s > last.s) samples.push(sample);
  samples = samples.filter(({ s }) => s >= sample.s - SPAN_S - 1);
  if (!updates.length) updates = GRAPHS.map(addCard);
  for (const update of updates) update();
}

async function loadBudgets() {
  const { budgets } = await get("v1/budgets");
  refill(byId("kept"), budgets.map(budgetCard));
}

/** What the log holds of the topics with a prefix, and its limits. */
function budgetCard({ prefix, messages, bytes, oldest, keep_s: keep, keep_count: most, keep_bytes: largest }) {
  const of = (value, limit, text) => `${value === null ? "–" : text(value)}${limit === null ? "" : ` of ${text(limit)}`}`;
  const age = `${oldest ? ago(oldest) : "–"}${keep === null ? "" : `, kept for ${duration(keep)}`}`;
  const figures = { Messages: of(messages, most, count), Size: of(bytes, largest, size), Oldest: age };
  return h("article", { class: "card" }, h("h2", null, "Kept: ", prefix || "all other topics"), facts(figures));
}

function addCard({ name, unit, value, text }) {
  const now = h("p", { class: "figure" }, "–");
  const most = h("p", { class: "hint" });
  const line = svg("path", { class: "stroke" });
  const area = svg("path", { class: "area" });
  const box = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" };
  const graph = svg("svg", { class: "sparkline", role: "img", ...box },
    svg("path", { class: "axis", d: `M0 ${HEIGHT}H${WIDTH}` }), area, line);
  const oldest = h("span");
  const head = h("div", { class: "card-head" }, h("h2", null, name), most);
  const scale = h("p", { class: "scale hint", "aria-hidden": "true" }, oldest, h("span", null, "now"));
  byId("graphs").append(h("article", { class: "card" }, head, now, h("p", { class: "hint" }, unit), graph, scale));
  return () => {
    const steps = stepsOf(value);
    const max = Math.max(0, ...steps.map((step) => step.y ?? 0));
    const last = steps.at(-1)?.y ?? null;
    fill(oldest, `${duration(shownSpan())} ago`);
    fill(now, last === null ? "–" : text(last));
    fill(most, steps.length > 0 && `at most ${text(max)}`);
    const current = last === null ? "none" : text(last);
    const label = `${name}, ${unit}: ${current} now, at most ${text(max)} in ${duration(shownSpan())}`;
    graph.setAttribute("aria-label", label);
    draw(line, area, steps, max);
  };
}

/** Seconds that the graphs show. */
const shownSpan = () => SPANS_S.find((span) => samples.at(-1).s - samples[0].s <= span) ?? SPAN_S;

/** A value for the time between each sample and the next: averages, so that pauses in sampling are no gaps. */
function stepsOf(value) {
  const end = samples.at(-1)?.s;
  const span = shownSpan();
  const x = (s) => WIDTH * (1 - Math.min(span, end - s) / span);
  return samples.slice(1).map((to, i) => ({ from: x(samples[i].s), to: x(to.s), y: value(samples[i], to) }));
}

/** Draw the steps, as lines with the area beneath; where there is no value, there is a gap. */
function draw(line, area, steps, max) {
  const y = (value) => (HEIGHT - (max ? (value / max) * (HEIGHT - 4) : 0)).toFixed(1);
  const runs = runsOf(steps).map((run) => ({
    from: run[0].from,
    to: run.at(-1).to,
    path: run.map((step) => `${step.from.toFixed(1)} ${y(step.y)}H${step.to.toFixed(1)}`).join("L"),
  }));
  line.setAttribute("d", runs.map(({ path }) => `M${path}`).join(""));
  area.setAttribute("d", runs.map(({ from, to, path }) => `M${from} ${HEIGHT}L${path}L${to} ${HEIGHT}Z`).join(""));
}

/** The steps that have a value, divided where one has none. */
function runsOf(steps) {
  const runs = [[]];
  for (const step of steps) {
    if (step.y === null) runs.push([]);
    else runs.at(-1).push(step);
  }
  return runs.filter((run) => run.length);
}
