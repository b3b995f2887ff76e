/** What the hub has kept: messages and refused requests, merged, newest first, page by page. */

import { get } from "./api.js";

const PAGE = 50;
// A search reads a bounded part of the log for each answer; after so many, the reader says whether to go on.
const MAX_SEARCHES = 5;

/** A way back through what is kept and passes the filters, from the newest or from before a message. */
export class History {
  #filters;
  #wanted;
  #before;
  #ended = false;
  #refusals;

  /** `wanted` tells whether `messages` and `refusals` are; `before` is the id of a message. */
  constructor(filters, wanted, before = null) {
    this.#filters = filters;
    this.#wanted = wanted;
    this.#before = before;
    this.#ended = !wanted.messages;
    this.#refusals = wanted.refusals ? new RefusalHistory(filters) : null;
  }

  /** Whether there may be more messages. */
  get moreMessages() {
    return !this.#ended;
  }

  /** Whether there may be more of any kind. */
  get more() {
    return !this.#ended || Boolean(this.#refusals?.more);
  }

  /** The next page, as lines of the live stream. A search may find few or none, although there is more. */
  async next(options) {
    const messages = await this.#messages(options);
    // Refused requests as far back as the messages go.
    const since = this.#ended ? null : messages.at(-1)?.time;
    const refusals = (await this.#refusals?.since(since, options)) ?? [];
    const items = [
      ...messages.map((message) => ({ type: "message", message, time: message.time })),
      ...refusals.map((refusal) => ({ type: "refusal", refusal, time: refusal.last })),
    ];
    return items.sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0));
  }

  async #messages(options) {
    const found = [];
    for (let searches = 0; !this.#ended && found.length < PAGE && searches < MAX_SEARCHES; searches++) {
      const parameters = { ...this.#filters, before: this.#before, limit: PAGE - found.length };
      const page = await get("v1/messages", parameters, options);
      found.push(...page.messages);
      this.#before = page.before;
      this.#ended = !page.before;
    }
    return found;
  }
}

/** Refused requests, newest first, read page by page as far back as somebody looks. */
class RefusalHistory {
  #read = [];
  #before = null;
  #ended = false;

  constructor({ topic, text, provider }) {
    this.filters = { topic, text, provider };
  }

  get more() {
    return this.#read.length > 0 || !this.#ended;
  }

  /** The next ones that are not older than a time; without one, a page of them. */
  async since(time, options) {
    const found = [];
    for (;;) {
      while (this.#read.length && (!time || this.#read[0].last >= time)) found.push(this.#read.shift());
      if (this.#ended || this.#read.length || (!time && found.length)) return found;
      const page = await get("v1/refusals", { ...this.filters, before: this.#before, limit: PAGE }, options);
      this.#read = page.refusals;
      this.#before = page.before;
      this.#ended = !page.before;
    }
  }
}
