/** What the pack's modules read from the graph, and how they ask the pack's Python. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

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

/** The nodes that are shown: of the graph, or of the subgraph that is open. */
export function shownNodes() {
  return app.canvas?.graph?.nodes ?? [];
}

/** Does something before each frame that the page draws: no event tells of all that may have changed, in every renderer. */
export function look(act) {
  requestAnimationFrame(() => look(act)); // first, for the next frame comes after a failure too
  act();
}

/**
 * Calls `act(node, value)` for each shown node of these types when `read(node)` has become another value.
 * That may be a link, another node's widget, or what was undone.
 */
export function watch(types, read, act) {
  const last = new WeakMap();
  look(() => {
    for (const node of shownNodes()) {
      if (!types.includes(node.type)) continue;
      const value = read(node);
      const written = JSON.stringify(value) ?? "";
      if (last.get(node) === written) continue;
      last.set(node, written);
      act(node, value);
    }
  });
}

/**
 * A function that asks the pack's Python one question at a time and hands each answer to `tell(answer, question)`.
 *
 * A dial that is dragged asks faster than the answers come: of the questions that come meanwhile only the last is asked.
 * No question (null) is answered with null. A question says in `query` what is written behind the path.
 */
export function asking(path, tell) {
  let waiting;
  let busy = false;
  return async (question) => {
    waiting = { question };
    if (busy) return;
    busy = true;
    while (waiting) {
      const { question } = waiting;
      waiting = undefined;
      const answer = question && (await answerTo(`${path}?${new URLSearchParams(question.query)}`));
      tell(answer, question);
    }
    busy = false;
  };
}

async function answerTo(address) {
  try {
    const response = await api.fetchApi(address);
    return await response.json();
  } catch {
    return { error: "The server does not answer." };
  }
}
