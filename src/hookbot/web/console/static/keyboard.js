/** Keys that mean something outside of fields. Arrows, Space and Page Down go on scrolling. */

const actions = new Map();

/** Run `action` when this key is pressed, unless something is being typed or a dialog is open. */
export function onKey(key, action) {
  actions.set(key, action);
}

document.addEventListener("keydown", (event) => {
  const action = actions.get(event.key);
  if (!action || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  // Enter on a link or a button presses it.
  if (event.key === "Enter" && event.target.closest("a, button, summary")) return;
  event.preventDefault();
  action(event);
});
