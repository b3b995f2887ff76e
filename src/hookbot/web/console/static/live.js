/** The live page: history and stream in one list, a message beside it, and the keys. */

import { lines, pause, Refused, root, tell } from "./api.js";
import { empty, failure } from "./components.js";
import { DELETED, deleteAll } from "./delete.js";
import { deliverAgainById, deliverAll } from "./deliver.js";
import { byId, fill, h } from "./dom.js";
import { Feed } from "./feed.js";
import { address, filters, setAddress, wanted, watchFilters } from "./filters.js";
import { History } from "./history.js";
import { onKey } from "./keyboard.js";
import { MessageView } from "./message.js";

const MAX_WAIT_S = 15;
const MAX_SILENCE_MS = 60_000;
const WIDE = matchMedia("(min-width: 70rem)");

const feed = new Feed(() => refresh().catch(fail));
const pane = byId("pane");
const older = byId("older");
let opened = null;
let past = startOver();
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
        if (line.type === "hello") await refresh();
        else take(line);
        failures = 0;
      }
    } catch (error) {
      if (signal.aborted) return;
      // The filters are wrong: asking again would not help.
      if (error instanceof Refused && error.status >= 400 && error.status < 500 && error.status !== 429) {
        return fail(error);
      }
    }
    if (signal.aborted) return;
    tell("lost");
    await pause(Math.min(MAX_WAIT_S, 2 ** failures) * (0.5 + Math.random() / 2));
  }
}

function fail(error) {
  if (error.name !== "AbortError") fill(byId("nothing"), failure(error));
}

function take(line) {
  const { messages, refusals } = wanted();
  if (line.type === "heartbeat") return;
  if (line.type === "refusal" ? !refusals : !messages) return;
  if (line.type === "message" && feed.has(line)) return;
  feed.add(line);
  fill(byId("nothing"));
}

/** What is kept, with the filters of now, from the newest or from before a message. */
function startOver(before = null) {
  return new History(filters(), wanted(), before);
}

/** Show the newest page; if it joins what is shown, only what is new in it. */
async function refresh() {
  const newest = startOver();
  const items = await newest.next({ signal: following.signal });
  // A refused request that repeats moves up, so that only a message shows where the page joins.
  const known = items.findIndex((item) => item.type === "message" && feed.has(item));
  if (known < 0) {
    feed.clear();
    feed.append(items);
    past = newest;
  } else {
    for (const item of items.slice(0, known).reverse()) feed.add(item);
  }
  showEnd();
}

async function loadOlder() {
  older.disabled = true;
  // What was dropped at the end of the list comes once more.
  if (feed.trimmed) past = startOver(feed.oldest);
  feed.trimmed = false;
  try {
    const items = await past.next({ signal: following.signal });
    feed.append(items.filter((item) => !feed.has(item)));
    showEnd();
  } catch (error) {
    fail(error);
  }
  older.disabled = false;
}

function showEnd() {
  older.hidden = !past.more && !feed.trimmed;
  fill(older, feed.length ? "Show older" : "Search further back");
  if (feed.length) return fill(byId("nothing"));
  const filtered = Object.keys(filters()).length || address().show;
  const first = h("a", { href: `${root}start` }, "Send a first message");
  if (!filtered) fill(byId("nothing"), empty("Nothing has come yet", "What comes appears here. ", first, "."));
  else if (past.moreMessages) fill(byId("nothing"), empty("Nothing so far", "There is more of the log to search."));
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
byId("delete-all").addEventListener("click", () => deleteAll(filters()));
document.addEventListener(DELETED, () => {
  open(null);
  follow();
});
onKey("j", () => move(1));
onKey("k", () => move(-1));
onKey("/", () => document.querySelector("#filters [name=text]").select());
onKey("Enter", () => feed.move(1));
onKey("Escape", () => (opened ? close() : feed.resume()));
onKey("r", () => {
  const id = document.activeElement.closest("tr[data-id]")?.dataset.id ?? opened;
  if (id) deliverAgainById(id);
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
