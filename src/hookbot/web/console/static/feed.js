/** The list of the live page: what arrives is drawn in a frame with others, and never under the eyes of a reader. */

import { byId, fill } from "./dom.js";
import { count, counted } from "./format.js";
import { keyOf, rowOf } from "./rows.js";

const MAX_ROWS = 500;
// A few new rows light up for a moment; many would only flicker.
const MAX_LIT = 5;
const ANNOUNCE_MS = 5000;
// Ten times a second looks alive; each time, the browser lays the list out anew.
const MIN_PERIOD_MS = 100;

/**
 * Rows, newest first. While it is `paused`, what arrives waits: as long as the pointer or the keyboard's focus is in
 * the list, or the page is scrolled.
 */
export class Feed {
  #body = byId("rows");
  #pill = byId("pill");
  #rows = new Map();
  #waiting = [];
  #new = 0;
  #pointed = false;
  #scheduled = false;
  #drawn = 0;
  /** True if newer rows had to go so that older ones could be shown. */
  detached = false;
  /** True if older rows had to go. */
  trimmed = false;

  /** `onresume` is called when the reader wants the newest, and rows in between are missing. */
  constructor(onresume) {
    this.onresume = onresume;
    const list = byId("feed");
    list.addEventListener("pointermove", ({ pointerType }) => (this.#pointed = pointerType === "mouse"));
    list.addEventListener("pointerleave", () => this.#unpoint());
    list.addEventListener("focusout", () => this.#schedule());
    addEventListener("scroll", () => this.#schedule(), { passive: true });
    this.#pill.addEventListener("click", () => this.resume());
    setInterval(() => this.#announce(), ANNOUNCE_MS);
  }

  get paused() {
    const focused = this.#body.contains(document.activeElement);
    return this.detached || this.#pointed || scrollY > 8 || focused;
  }

  get length() {
    return this.#rows.size;
  }

  /** The id of the oldest message among the rows. */
  get oldest() {
    return [...this.#rows.values()].findLast((row) => row.dataset.id)?.dataset.id;
  }

  has(item) {
    return this.#rows.has(keyOf(item)) || this.#waiting.some((other) => keyOf(other) === keyOf(item));
  }

  /** Take something new: a line of the live stream. */
  add(item) {
    this.#waiting.push(item);
    this.#new += item.type === "left_out" ? item.number : 1;
    // More would fall off the end of the list at once.
    if (this.#waiting.length > MAX_ROWS) this.#waiting.shift();
    this.#schedule();
  }

  /** Put older rows at the end; newer ones go if there are too many. */
  append(items) {
    for (const item of items) {
      this.#body.append(this.#row(item));
    }
    while (this.#rows.size > MAX_ROWS) {
      this.#drop(this.#body.firstElementChild);
      this.detached = true;
    }
    this.#show();
  }

  /** Forget every row. */
  clear() {
    this.#rows.clear();
    this.#waiting = [];
    this.#new = 0;
    this.detached = this.trimmed = false;
    fill(this.#body);
    this.#show();
  }

  /** Show what waits, whatever paused it. */
  resume() {
    this.#pointed = false;
    if (this.#body.contains(document.activeElement)) document.activeElement.blur();
    scrollTo({ top: 0 });
    if (this.detached) {
      this.clear();
      this.onresume();
    }
    this.#draw();
  }

  /** Move the keyboard's focus by one row; returns the row that has it. */
  move(step) {
    const rows = [...this.#body.querySelectorAll("tr:has(.open)")];
    const now = rows.indexOf(document.activeElement.closest("tr") ?? this.current);
    const row = rows[Math.min(rows.length - 1, Math.max(0, now + step))];
    row?.querySelector(".open").focus();
    row?.scrollIntoView({ block: "nearest" });
    return row;
  }

  /** The row of the message that is open beside the list. */
  get current() {
    return this.#body.querySelector("[aria-current]");
  }

  /** Mark the row of a message as the open one; null: none. */
  mark(id) {
    this.current?.removeAttribute("aria-current");
    this.#rows.get(id)?.setAttribute("aria-current", "true");
  }

  /** Put the focus on the row of a message. */
  focus(id) {
    this.#rows.get(id)?.querySelector(".open").focus();
  }

  #unpoint() {
    this.#pointed = false;
    this.#schedule();
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const wait = this.#drawn + MIN_PERIOD_MS - performance.now();
    setTimeout(() => requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#drawn = performance.now();
      if (this.paused) this.#show();
      else this.#draw();
    }), wait);
  }

  #draw() {
    const items = this.#waiting;
    this.#waiting = [];
    this.#new = 0;
    const lit = items.length <= MAX_LIT && this.#rows.size;
    for (const item of items) {
      const first = this.#body.firstElementChild;
      if (item.type === "left_out" && first?.dataset.leftOut) {
        item.number += Number(first.dataset.leftOut);
        this.#drop(first);
      }
      this.#drop(this.#rows.get(keyOf(item)));
      const row = this.#row(item);
      row.classList.toggle("lit", Boolean(lit));
      this.#body.prepend(row);
    }
    while (this.#rows.size > MAX_ROWS) {
      this.#drop(this.#body.lastElementChild);
      this.trimmed = true;
    }
    this.#show();
  }

  #row(item) {
    const row = rowOf(item);
    row.dataset.key = keyOf(item);
    this.#rows.set(row.dataset.key, row);
    return row;
  }

  #drop(row) {
    if (!row) return;
    this.#rows.delete(row.dataset.key);
    row.remove();
  }

  #show() {
    this.#pill.hidden = !this.#new && !this.detached;
    fill(this.#pill, this.#new ? `${count(this.#new)} new` : "Back to the newest");
  }

  #announce() {
    const text = this.#new ? `${counted(this.#new, "new message")}, paused` : "";
    if (byId("announced").textContent !== text) fill(byId("announced"), text);
  }
}
