/** What is refreshed in place: focus, selection and pointer stay where they are. */

import { poll } from "./api.js";
import { addToken, failure } from "./components.js";
import { byId, fill, h } from "./dom.js";
import { session } from "./shell.js";

/** Run `load` every so many seconds; its failures are shown in the element `problem`, until it works again. */
export function keepLoading(seconds, load) {
  const refresh = async () => {
    await load();
    fill(byId("problem"));
  };
  poll(seconds, refresh, (error) => refill(byId("problem"), failure(error)));
}

/** The same for what only operators see; anybody else is told so. */
export function keepLoadingForOperators(seconds, load) {
  const tell = (content) => fill(byId("problem"), content);
  const others = () => h("p", { class: "note" }, "Only operators see this. ", addToken(), " for ",
    h("code", null, "/hookbot/v1/"), " or for ", h("code", null, "/"), ".");
  session.then(
    ({ operator }) => (operator ? keepLoading(seconds, load) : tell(others())),
    (error) => tell(failure(error)),
  );
}

/**
 * Function that shows items as the children of `parent`: an element for each, which stays while its key is among them.
 *
 * `make(item)` returns `{element, update}`, and `update(item)` shows what is so now. While somebody points at the list
 * or has the focus in it, nothing moves.
 */
export function keyedList(parent, keyOf, make) {
  const rows = new Map();
  return (items) => {
    const keys = new Set(items.map(keyOf));
    for (const key of rows.keys()) if (!keys.has(key)) leave(rows, key);
    const elements = items.map((item) => {
      const key = keyOf(item);
      if (!rows.has(key)) rows.set(key, make(item));
      rows.get(key).update(item);
      return rows.get(key).element;
    });
    const held = parent.matches(":hover, :focus-within");
    if (held) parent.append(...elements.filter((element) => !element.isConnected));
    else order(parent, elements);
  };
}

function order(parent, elements) {
  for (const [i, element] of elements.entries()) {
    if (element !== parent.children[i]) parent.insertBefore(element, parent.children[i]);
  }
}

function leave(rows, key) {
  const { element } = rows.get(key);
  rows.delete(key);
  // Otherwise the focus would be lost to the beginning of the page.
  if (element.contains(document.activeElement)) document.getElementById("main").focus();
  element.remove();
}

/** Put these children in place of those that an element has, unless they look alike: somebody may be selecting them. */
export function refill(element, ...children) {
  const made = fill(element.cloneNode(false), ...children);
  if (!made.isEqualNode(element)) element.replaceChildren(...made.childNodes);
}
