/** What a node of the pack said in its last run stays on it: "length 18 is not 4n+1: 17 frames are made" and its kind. */

import { app } from "../../scripts/app.js";

const PROPERTY = "apoavatar_said"; // of the node: saved with the workflow

/** The element of a node's sentences: outside as large as the page makes it, inside as high as the words need. */
function paragraph(sentences) {
  const inside = document.createElement("div");
  inside.textContent = sentences;
  Object.assign(inside.style, { padding: "4px 8px", whiteSpace: "pre-line", overflowWrap: "anywhere" });
  const outside = document.createElement("div");
  outside.className = "apoavatar-said";
  outside.setAttribute("role", "status");
  Object.assign(outside.style, {
    font: "12px/1.35 sans-serif", color: "#f0c070", background: "rgba(240, 160, 60, 0.12)", borderRadius: "6px",
    overflow: "hidden", userSelect: "text", boxSizing: "border-box",
  });
  outside.append(inside);
  return outside;
}

function show(node) {
  const sentences = node.properties[PROPERTY];
  const shown = node.widgets?.find((widget) => widget.name === PROPERTY);
  if (shown) node.removeWidget(shown);
  if (!sentences) return;
  const element = paragraph(sentences);
  const widget = node.addDOMWidget(PROPERTY, "apoavatar_said", element, {
    serialize: false,
    hideOnZoom: false,
    margin: 4,
    getMinHeight: () => (element.firstChild.offsetHeight || 20) + 8,
    getMaxHeight: () => (element.firstChild.offsetHeight || 20) + 8,
  });
  widget.serialize = false; // the property holds them
}

/** The page keeps a workflow for the next visit when it changes; it looks for changes after clicks and keys alone. */
function keepForNextVisit() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  if (tracker?.captureCanvasState) tracker.captureCanvasState();
  else tracker?.checkState?.(); // its older name
}

app.registerExtension({
  name: "apoavatar.Said",

  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("ApoAvatar")) return;
    const { onExecuted, onConfigure } = node;
    node.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      const sentences = output?.text?.join("\n");
      if (sentences === undefined || sentences === (this.properties[PROPERTY] ?? "")) return;
      if (sentences) this.properties[PROPERTY] = sentences;
      else delete this.properties[PROPERTY];
      show(this);
      keepForNextVisit();
    };
    node.onConfigure = function () {
      onConfigure?.apply(this, arguments);
      show(this);
    };
  },
});
