/** Who listens: cursors, groups and plain subscribers, those that are behind first. */

import { del, get, post } from "./api.js";
import { agoOf, ask, badge, openDialog, toast, toastError, topicOf } from "./components.js";
import { byId, fill, foreign, h } from "./dom.js";
import { count, counted, duration } from "./format.js";
import { onKey } from "./keyboard.js";
import { keepLoading, keyedList, refill } from "./refreshing.js";

const LATE_S = 60;
const LATE_MESSAGES = 1000;
// As many subscriptions as the hub lists at once, those that are furthest behind.
const MAX_ROWS = 500;
const ID = /^[a-z]{8}-[0-9]{15}$/;
const COLUMNS = ["Listener", "Connection", "Token", "Behind", "Unacknowledged", "Actions"];

const show = keyedList(byId("listeners").tBodies[0], (row) => row.key, makeRow);
let rows = [];
keepLoading(2, load);
byId("find").addEventListener("input", showFound);
onKey("/", () => byId("find").select());

async function load() {
  const [{ subscriptions, total }, { cursors }] = await Promise.all([get("v1/subscriptions"), get("v1/cursors")]);
  rows = listenersOf(subscriptions, cursors);
  // Whoever looks is no listener.
  const any = rows.some((row) => row.format !== "live");
  byId("some").hidden = !any;
  byId("nobody").hidden = any;
  const number = (kind) => counted(cursors.filter((one) => one.kind === kind).length, kind);
  const late = rows.filter(isLate).length;
  const all = `${counted(total, "connection")} · ${number("cursor")} · ${number("group")}`;
  refill(byId("summary"), all, late > 0 && badge(`${count(late)} behind for long`, "bad"));
  showFound();
}

/** Show the listeners that have what is looked for in their name, path, address or token. */
function showFound() {
  const text = byId("find").value.toLowerCase();
  const shown = (row) => JSON.stringify([row.name, row.path, row.connections]).toLowerCase();
  const found = text ? rows.filter((row) => shown(row).includes(text)) : rows;
  show(found.slice(0, MAX_ROWS));
  const rest = found.length > MAX_ROWS ? "There are more, which are less behind." : "";
  refill(byId("rest"), found.length ? rest : "Nobody has this in a name, path, address or token.");
}

/** Rows of the table, the one that is behind for the longest first; the members of a group follow it. */
function listenersOf(subscriptions, cursors) {
  const consumers = cursors.map((cursor) => ({
    ...cursor,
    key: `${cursor.kind} ${cursor.path} ${cursor.name}`,
    connections: subscriptions.filter((one) => one.path === cursor.path && one[cursor.kind] === cursor.name),
  }));
  const consuming = new Set(consumers.flatMap((consumer) => consumer.connections));
  const plain = subscriptions.filter((one) => !consuming.has(one)).map((one) => connectionRow("plain", one));
  return [...consumers, ...plain].sort(byDelay).flatMap((row) => {
    const members = row.kind === "group" ? row.connections : [];
    return [row, ...members.map((one) => connectionRow("member", one))];
  });
}

const connectionRow = (kind, subscription) => ({
  ...subscription,
  kind,
  key: `connection ${subscription.id}`,
  connections: [subscription],
});

// What another hub serves is not known to be behind.
const byDelay = (one, other) =>
  (other.behind_s ?? 0) - (one.behind_s ?? 0) ||
  (other.behind ?? 0) - (one.behind ?? 0) ||
  one.path.localeCompare(other.path);

const isLate = (row) => row.kind !== "member" && (row.behind_s > LATE_S || row.behind > LATE_MESSAGES);

function makeRow(row) {
  const cells = COLUMNS.map((label) => h("td", { role: "cell", "data-label": label }, h("div")));
  const element = h("tr", { role: "row", class: row.kind }, cells);
  const places = cells.map((cell) => cell.firstChild);
  fill(places.at(-1), actionsOf(row)).className = "actions";
  const update = (now) => {
    element.classList.toggle("late", isLate(now));
    [nameCell, connectionCell, tokenCell, behindCell, unackedCell].forEach((cell, i) => refill(places[i], cell(now)));
  };
  return { element, update };
}

const second = (...children) => h("div", { class: "hint" }, children);

function nameCell(row) {
  if (row.format === "live") return ["live page", second("of this console")];
  if (row.kind === "plain") return [topicOf(row.path), second("no cursor")];
  if (row.kind === "member") return ["member"];
  return [h("strong", null, foreign(row.name)), " ", badge(row.kind), second(topicOf(row.path))];
}

function connectionCell(row) {
  if (row.kind === "group" && row.connections.length) return badge(counted(row.connections.length, "member"), "good");
  if (!row.connections.length && row.connected) return [badge("connected", "good"), second("not listed here")];
  if (!row.connections.length) return [badge("away"), second("used ", agoOf(row.used))];
  const [{ client, format, since }] = row.connections;
  return [badge("connected", "good"), format !== "live" && ` ${format}`, second(foreign(client), ", since ", agoOf(since))];
}

function tokenCell({ kind, connections: [connection] }) {
  if (kind === "group" || !connection) return null;
  const { names, path } = connection.token;
  return [names.length ? foreign(names.join(", ")) : "no name", path && second("for ", topicOf(path))];
}

function behindCell(row) {
  if (row.kind === "member") return null;
  if (row.behind === 0) return "up to date";
  if (!row.behind) return "not counted";
  const number = `${count(row.behind)}${row.behind_more ? "+" : ""}`;
  return [isLate(row) ? badge(number, "bad") : number, second("for ", duration(row.behind_s))];
}

const unackedCell = (row) => ((row.unacked ?? null) === null ? null : count(row.unacked));

function actionsOf(row) {
  const what = row.name ?? `${row.path}, ${row.client}`;
  const button = (label, run) =>
    h("button", { type: "button", "aria-label": `${label} ${what}`, onclick: () => run(row) }, label);
  if (row.kind === "plain" || row.kind === "member") return button("End", end);
  return [button("Move", move), button("Delete", remove)];
}

/** Change something at the hub, say so, and show what is so now. */
async function change(request, done) {
  try {
    await request;
    toast(done);
    await load();
  } catch (error) {
    toastError(error);
  }
}

async function end({ id, path, client }) {
  const content = h("p", null, "The connection of ", foreign(client), " to ", topicOf(path),
    " is closed, and its client is told not to connect again by itself.");
  if (await ask({ title: "End this subscription?", content, action: "End it", danger: true }))
    await change(del(`v1/subscriptions/${encodeURIComponent(id)}`), "Ended");
}

const named = ({ kind, path, name }) => ({ kind, path, name });

async function remove(row) {
  const content = h("p", null, "The hub forgets up to where ", h("strong", null, foreign(row.name)),
    " has acknowledged ", topicOf(row.path),
    ", and ends its subscriptions: their clients do not connect again by themselves.");
  if (await askForName(`Delete this ${row.kind}?`, content, row.name))
    await change(del("v1/cursors", named(row)), `Deleted ${row.name}`);
}

/** Ask before something is done that takes typing a name; true if that was done. */
function askForName(title, content, name) {
  const input = h("input", { class: "code", autocomplete: "off", spellcheck: "false", autofocus: true });
  const yes = h("button", { class: "danger", disabled: true }, "Delete it");
  const field = h("label", { class: "field" }, h("span", null, "Its name, to confirm: ", foreign(name)), input);
  const form = h("form", { method: "dialog", id: "confirm" }, field);
  const { dialog, actions } = openDialog(title, [content, form]);
  input.addEventListener("input", () => (yes.disabled = input.value !== name));
  yes.setAttribute("form", "confirm");
  actions.append(h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"), yes);
  let confirmed = false;
  form.addEventListener("submit", () => (confirmed = input.value === name));
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(confirmed)));
}

async function move(row) {
  const { fields, place } = makePlaces();
  const content = [
    h("p", null, foreign(row.name), " is at ", h("code", null, row.position), ". Begin again with:"),
    fields,
    h("p", { class: "hint" }, "Its subscriptions end; its clients connect again and go on from there."),
  ];
  if (await ask({ title: `Move this ${row.kind}?`, content, action: "Move it", danger: true }))
    await change(post("v1/cursors", { ...named(row), ...place() }), `Moved ${row.name}`);
}

/** Choice of a place in the log, and a function that returns it as parameters. */
function makePlaces() {
  const choice = (value, text, checked = false) => {
    const radio = h("input", { type: "radio", name: "place", value, checked });
    return [radio, h("label", { class: "check" }, radio, text)];
  };
  const [now, nowLabel] = choice("now", "what comes from now on: what is stored is skipped", true);
  const [all, allLabel] = choice("all", "the oldest message that is stored");
  const [since, sinceLabel] = choice("since", "an earlier one: its id, a time, or 10m, 2h, 7d ago");
  const label = { "aria-label": "Id, time or age", placeholder: "2h" };
  const where = h("input", { class: "code", autocomplete: "off", spellcheck: "false", ...label });
  where.addEventListener("input", () => (since.checked = true));
  const place = () => {
    if (!since.checked) return { since: [now, all].find((radio) => radio.checked).value };
    const text = where.value.trim();
    return { [ID.test(text) ? "from" : "since"]: text };
  };
  const properties = { class: "places", role: "radiogroup", "aria-label": "Place" };
  return { fields: h("div", properties, nowLabel, allLabel, sinceLabel, where), place };
}
