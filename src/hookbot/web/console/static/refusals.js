/** Refused requests of the past, which the live page merges with the messages of its pages. */

import { get } from "./api.js";

const PAGE = 50;

/** Refused requests, newest first, read page by page as far back as somebody looks. */
export class RefusalHistory {
  #read = [];
  #before = null;
  #ended = false;

  constructor({ topic, text }) {
    this.filters = { topic, text };
  }

  /** Whether there may be more. */
  get more() {
    return this.#read.length > 0 || !this.#ended;
  }

  /** The next ones that are not older than a time; null: one page of them, however old. */
  async since(time) {
    const found = [];
    for (;;) {
      while (this.#read.length && (!time || this.#read[0].last >= time)) found.push(this.#read.shift());
      if (this.#ended || this.#read.length || (!time && found.length)) return found;
      const page = await get("v1/refusals", { ...this.filters, before: this.#before, limit: PAGE });
      this.#read = page.refusals;
      this.#before = page.before;
      this.#ended = !page.before;
    }
  }
}
