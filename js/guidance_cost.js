/** What guidance costs, on the guider and the sampler: how many evaluations a step the scales and connected conditions take. */

import { app } from "../../scripts/app.js";
import { asking, isConnected, origin, valueOf, watch } from "./graph.js";

const NODES = ["ApoAvatarDecoupledCFGGuider", "ApoAvatarSampler"];
const MODALITIES = ["text", "image", "audio", "pose"];
const LINE = 20; // px

const costs = new WeakMap(); // node → Cost

/** What ApoAvatar Conditioning is given; null where another node, or a subgraph's border, stands before the guider. */
function given(node) {
  const conditioning = origin(node, "positive");
  if (conditioning?.type !== "ApoAvatarConditioning") return null;
  const inputs = {
    image: ["reference_image", "clip_vision_output", "source_video"], audio: ["audio_features"], pose: ["pose_mode.pose"],
  };
  return MODALITIES.filter((name) => name === "text" || inputs[name].some((input) => isConnected(conditioning, input)));
}

/** What the route is asked; null where a scale is known in a run only. */
function question(node) {
  const scales = MODALITIES.map((modality) => [modality, valueOf(node, `${modality}_scale`)]);
  if (scales.some(([, scale]) => scale === undefined)) return null;
  const present = given(node);
  return { known: present !== null, query: { ...Object.fromEntries(scales), present: (present ?? MODALITIES).join(",") } };
}

function words({ states, error }, known) {
  if (error) return error;
  const count = `${states.length} evaluation${states.length === 1 ? "" : "s"} a step`;
  return known ? count : `up to ${count}`;
}

/** The line on a node. */
class Cost {
  constructor(node) {
    this.words = "";
    this.element = document.createElement("div");
    this.element.className = "apoavatar-cost";
    Object.assign(this.element.style, {
      font: `12px/${LINE}px sans-serif`, color: "#b0b4be", textAlign: "right", padding: "0 8px", overflow: "hidden",
    });
    this.ask = asking("/apoavatar/evaluations", (answer, question) => {
      this.words = answer ? words(answer, question.known) : "";
      this.element.textContent = this.words;
      this.element.title = answer?.states?.map((kept) => kept.join(" + ") || "nothing").join("; ") ?? "";
      node.setDirtyCanvas(true, true);
    });
  }
}

app.registerExtension({
  name: "apoavatar.GuidanceCost",

  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass)) return;
    const cost = new Cost(node);
    costs.set(node, cost);
    // The classic renderer keeps a saved graph's sizes, so a line in the node would push its border over its neighbour: there
    // the words are a badge above the title. Nodes 2.0 makes room for a line and does not redraw badges.
    const badge = () => (LiteGraph.vueNodesMode ? "" : cost.words);
    node.badges.push(() => new LGraphBadge({ text: badge(), fgColor: "#d8d8d8", bgColor: "#3a3f4b" }));
    const height = () => (LiteGraph.vueNodesMode ? LINE : 0);
    const widget = node.addDOMWidget("apoavatar_cost", "apoavatar_cost", cost.element, {
      serialize: false, margin: 0, getMinHeight: height, getMaxHeight: height,
    });
    widget.serialize = false;
  },

  setup() {
    watch(NODES, question, (node, asked) => costs.get(node)?.ask(asked));
  },
});
