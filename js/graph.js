/** What the pack's modules read from the graph. */

import { app } from "../../scripts/app.js";

const LOOK_EVERY = 50; // ms

/** The node that an input is connected to, through Reroute nodes; undefined if there is none. */
export function origin(node, name) {
  let from = node;
  let slot = node.inputs?.findIndex((input) => input.name === name) ?? -1;
  while (slot >= 0) {
    from = from.getInputNode(slot);
    if (from?.type !== "Reroute") return from ?? undefined;
    slot = 0;
  }
}

export function isConnected(node, name) {
  return node.inputs?.some((input) => input.name === name && input.link != null) ?? false;
}

/** An input's value: its widget's, or that of a primitive node in its place; undefined where only a run can tell. */
export function valueOf(node, name) {
  const [holder, widget] = isConnected(node, name) ? [origin(node, name), "value"] : [node, name];
  return holder?.widgets?.find(({ name }) => name === widget)?.value;
}

/**
 * Calls `act(node, value)` for each shown node of these types when `read(node)` has become another value.
 *
 * No event tells of a link, of another node's widget and of what was undone in every renderer: so they are looked at.
 */
export function watch(types, read, act) {
  const last = new WeakMap();
  setInterval(() => {
    for (const node of app.canvas?.graph?.nodes ?? []) {
      if (!types.includes(node.type)) continue;
      const value = read(node);
      const written = JSON.stringify(value) ?? "";
      if (last.get(node) === written) continue;
      last.set(node, written);
      act(node, value);
    }
  }, LOOK_EVERY);
}
