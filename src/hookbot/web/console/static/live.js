/** The live page: history and stream in one list, a message beside it, and the keys. */

import { get, lines, pause, Refused, root, tell } from "./api.js";
import { empty, failure } from "./components.js";
import { deliverAll } from "./deliver.js";
import { byId, fill, h } from "./dom.js";
import { Feed } from "./feed.js";
import { address, filters, setAddress, wanted, watchFilters } from "./filters.js";
import { count } from "./format.js";
import { onKey } from "./keyboard.js";
import { MessageView } from "./message.js";
import { RefusalHistory } from "./refusals.js";

const PAGE = 50;
// A search reads a bounded part of the log for each answer; after so many, the reader says whether to go on.
const MAX_SEARCHES = 5;
const MAX_WAIT_S = 15;
const MAX_SILENCE_MS = 60_000;
const WIDE = matchMedia("(min-width: 70rem)");

const feed = new Feed(() => refresh());
const pane = byId("pane");
const older = byId("older");
let opened = null;
let before = null;
let refusals = null;
let following = new AbortController();
let connection = new AbortController();
let heard = Date.now();

/** Follow the live stream with these filters until they change; after each connection, first get what was missed. */
async function follow() {
  following.abort();
  following = new AbortController();
  const { signal } = following;
  feed.clear();
  for (let failures = 0; !signal.aborted; failures++) {
    connection = new AbortController();
    try {
      for await (const line of lines("v1/live", filters(), { signal: AbortSignal.any([signal, connection.signal]) })) {
        heard = Date.now();
        if (line.type === "hello") await refresh(signal);
        else take(line);
        failures = 0;
      }
    } catch (error) {
      if (signal.aborted) return;
      // The filters are wrong: asking again would not help.
      if (error instanceof Refused && error.status >= 400 && error.status < 500 && error.status !== 429) {
        return fill(byId("nothing"), failure(error));
      }
    }
    if (signal.aborted) return;
    tell("lost");
    await pause(Math.min(MAX_WAIT_S, 2 ** failures) * (0.5 + Math.random() / 2));
  }
}

function take(line) {
  const { messages, refusals } = wanted();
  if (line.type === "heartbeat") return;
  if (line.type === "refusal" ? !refusals : !messages) return;
  if (line.type === "message" && feed.has(line)) return;
  feed.add(line);
  fill(byId("nothing"));
}

/** Show the newest page; if it joins what is shown, only what is new in it. */
async function refresh(signal) {
  const page = await history({ signal });
  // A refused request that repeats moves up, so that only a message shows where the page joins.
  const known = page.items.findIndex((item) => item.type === "message" && feed.has(item));
  if (known < 0) {
    feed.clear();
    feed.append(page.items);
    before = page.before;
  } else {
    for (const item of page.items.slice(0, known).reverse()) feed.add(item);
  }
  showEnd();
}

async function loadOlder() {
  older.disabled = true;
  try {
    // What was dropped at the end of the list comes once more.
    const page = await history(feed.trimmed ? { before: feed.oldest } : { before, more: true });
    feed.trimmed = false;
    feed.append(page.items.filter((item) => !feed.has(item)));
    before = page.before;
    showEnd();
  } catch (error) {
    fill(byId("nothing"), failure(error));
  }
  older.disabled = false;
}

/** One page of messages and refused requests, newest first; with `more`, refused ones that were not shown yet. */
async function history({ before = null, more = false, signal } = {}) {
  const want = wanted();
  if (!more || !refusals) refusals = new RefusalHistory(filters());
  const messages = [];
  let searched = 0;
  for (let searches = 0; want.messages && messages.length < PAGE && searches < MAX_SEARCHES; searches++) {
    const page = await get("v1/messages", { ...filters(), before, limit: PAGE - messages.length }, { signal });
    messages.push(...page.messages);
    searched += page.searched;
    before = page.before;
    if (!before) break;
  }
  const since = want.messages && before ? messages.at(-1)?.time : null;
  const refused = want.refusals ? await refusals.since(since) : [];
  const items = [
    ...messages.map((message) => ({ type: "message", message, time: message.time })),
    ...refused.map((refusal) => ({ type: "refusal", refusal, time: refusal.last })),
  ];
  items.sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0));
  return { items, before, searched };
}

function showEnd() {
  older.hidden = !(before || (refusals?.more && wanted().refusals));
  fill(older, before && feed.length === 0 ? "Search further back" : "Show older");
  if (feed.length) return fill(byId("nothing"));
  const filtered = Object.keys(filters()).length || address().show;
  const first = h("a", { href: `${root}start` }, "Send a first message");
  if (!filtered) fill(byId("nothing"), empty("Nothing has come yet", "What comes appears here. ", first, "."));
  else if (before) fill(byId("nothing"), empty("Nothing so far", "There is more of the log to search."));
  else fill(byId("nothing"), empty("Nothing matches", "Nothing that is kept passes this filter."));
}

/** Show a message beside the list, or nothing. */
function open(id, { focus = false } = {}) {
  opened = id;
  setAddress({ open: id });
  pane.hidden = !id;
  feed.mark(id);
  fill(pane);
  if (!id) return;
  const view = new MessageView(id, { close: () => close() });
  fill(pane, view.element);
  pane.scrollTop = 0;
  // A reader who came by the keyboard goes along.
  if (focus) view.shown.then(() => opened === id && view.element.querySelector("h2")?.focus({ preventScroll: true }));
}

function close() {
  const id = opened;
  open(null);
  if (id) feed.focus(id);
}

function move(step) {
  const id = feed.move(step)?.dataset.id;
  if (id && opened) open(id);
}

/** Open the message of a link beside the list, where there is room; the link of the open one leads to its own page. */
function openBeside(event) {
  const id = event.target.closest("a[data-message]")?.dataset.message;
  if (!id || !WIDE.matches || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (id === opened && pane.contains(event.target)) return;
  event.preventDefault();
  // A click without a place is made by Enter.
  open(id, { focus: event.detail === 0 });
}

byId("rows").addEventListener("click", openBeside);
pane.addEventListener("click", openBeside);
older.addEventListener("click", loadOlder);
byId("deliver-all").addEventListener("click", () => deliverAll(filters()));
onKey("j", () => move(1));
onKey("k", () => move(-1));
onKey("/", () => document.querySelector("#filters [name=text]").select());
onKey("Enter", () => feed.move(1));
onKey("Escape", () => (opened ? close() : feed.resume()));
onKey("r", () => {
  const id = document.activeElement.closest("tr[data-id]")?.dataset.id ?? opened;
  if (id) MessageView.deliverAgain(id);
});

// A computer that slept does not always notice that its connections are gone.
for (const type of ["visibilitychange", "online"]) {
  addEventListener(type, () => Date.now() - heard > MAX_SILENCE_MS && connection.abort());
}
addEventListener("hashchange", () => {
  const id = address().open ?? null;
  if (id !== opened && WIDE.matches) open(id);
});
watchFilters(follow);
if (address().open && WIDE.matches) open(address().open);
follow();
