/** The example's portrait and voice on their node, where nothing is connected in their place. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const NODE = "ApoAvatarExample";
const FOLDER = import.meta.url.split("/").at(-2); // the pack's, whatever a user has called it
const NEW_SIZE = [320, 420]; // px, of a node that is made by hand
const LEAST_HEIGHT = 36; // px: what a player needs

const file = (name) => api.apiURL(`/workflow_templates/${FOLDER}/assets/${name}`);

function element(tag, style, attributes) {
  const made = Object.assign(document.createElement(tag), attributes);
  Object.assign(made.style, style);
  return made;
}

/** Whether a node gives its own to somebody, or to nobody yet anything at all. */
function isOwn(node, name) {
  if (node.inputs?.some((input) => input.name === name && input.link != null)) return false;
  const used = node.outputs?.filter((output) => output.links?.length) ?? [];
  return !used.length || used.some((output) => output.name === name);
}

app.registerExtension({
  name: "apoavatar.Example",

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const portrait = element("img", { flex: "1 1 0px", minHeight: "0", objectFit: "contain" }, { src: file("presenter.png"), alt: "the example's portrait" });
    const voice = element("audio", { width: "100%", height: "32px", flex: "none" }, { src: file("speech.wav"), controls: true, preload: "metadata" });
    const shown = element("div", { display: "flex", flexDirection: "column", gap: "4px" });
    shown.className = "apoavatar-example";
    shown.append(portrait, voice);
    const widget = node.addDOMWidget("apoavatar_example", "apoavatar_example", shown, {
      serialize: false, hideOnZoom: false, margin: 4, getMinHeight: () => LEAST_HEIGHT,
    });
    widget.serialize = false;
    node.setSize(NEW_SIZE); // a saved size comes later and wins

    // After what is going on: links are changed one by one.
    const update = () => setTimeout(() => {
      portrait.style.display = isOwn(node, "portrait") ? "" : "none";
      voice.style.display = isOwn(node, "voice") ? "" : "none";
    });
    for (const happening of ["onConnectionsChange", "onGraphConfigured"]) {
      const before = node[happening];
      node[happening] = function () {
        const answer = before?.apply(this, arguments);
        update();
        return answer;
      };
    }
  },
});
