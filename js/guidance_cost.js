/** What guidance costs, on the guider and the sampler: how many evaluations a step the scales and connected conditions take. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { isConnected, origin, valueOf, watch } from "./graph.js";

const NODES = ["ApoAvatarDecoupledCFGGuider", "ApoAvatarSampler"];
const MODALITIES = ["text", "image", "audio", "pose"];
const LINE = 20; // px

const costs = new WeakMap(); // node → { words, element }

/** What ApoAvatar Conditioning is given; null where another node, or a subgraph's border, stands before the guider. */
function given(node) {
  const conditioning = origin(node, "positive");
  if (conditioning?.type !== "ApoAvatarConditioning") return null;
  const present = { text: true, audio: isConnected(conditioning, "audio_features") };
  present.image = ["reference_image", "clip_vision_output"].some((name) => isConnected(conditioning, name));
  present.pose = isConnected(conditioning, "pose_mode.pose");
  return MODALITIES.filter((modality) => present[modality]);
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

async function ask(node, asked) {
  const cost = costs.get(node);
  if (!cost) return;
  cost.asking?.abort();
  const { signal } = (cost.asking = new AbortController());
  let [told, states] = ["", ""];
  if (asked) {
    try {
      const response = await api.fetchApi(`/apoavatar/evaluations?${new URLSearchParams(asked.query)}`, { signal });
      const answer = await response.json();
      told = words(answer, asked.known);
      states = answer.states?.map((kept) => kept.join(" + ") || "nothing").join("; ") ?? "";
    } catch {
      if (signal.aborted) return;
    }
  }
  if (signal.aborted) return;
  cost.words = told;
  cost.element.textContent = told;
  cost.element.title = states;
  node.setDirtyCanvas(true, true);
}

app.registerExtension({
  name: "ApoAvatar.GuidanceCost",

  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass)) return;
    const element = document.createElement("div");
    element.className = "apoavatar-cost";
    Object.assign(element.style, { font: "11px/20px sans-serif", color: "#b0b4be", textAlign: "right", padding: "0 8px" });
    const cost = { words: "", element };
    costs.set(node, cost);
    // The classic renderer keeps a saved graph's sizes, so a line in the node would push its border over its neighbour: there
    // the words are a badge above the title. Nodes 2.0 makes room for a line and does not redraw badges.
    const badge = () => (LiteGraph.vueNodesMode ? "" : cost.words);
    node.badges.push(() => new LGraphBadge({ text: badge(), fgColor: "#d8d8d8", bgColor: "#3a3f4b" }));
    const height = () => (LiteGraph.vueNodesMode ? LINE : 0);
    const widget = node.addDOMWidget("apoavatar_cost", "apoavatar_cost", element, {
      serialize: false, margin: 0, getMinHeight: height, getMaxHeight: height,
    });
    widget.serialize = false;
    element.style.overflow = "hidden";
  },

  setup() {
    watch(NODES, question, ask);
  },
});
