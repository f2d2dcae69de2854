/** The gate on Audio Loudness Refocusing: waveform, s̃ and keep weight, before any run as soon as the audio's file is known. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { origin, valueOf, watch } from "./graph.js";

const NODE = "ApoAvatarLoudnessRefocusing";
const DIALS = ["fps", "frames", "alpha", "beta", "tau", "q_low", "q_high"];
const COLOURS = { wave: "#3f6787", normalized: "#9fd08a", keep: "#faa03c", beta: "#d8d8d8", axis: "#8a8f9a", error: "#f08070" };
const LEGEND = [["voice", "wave"], ["loudness s̃", "normalized"], ["keep weight", "keep"], ["β", "beta"]];
const STRIP = 28; // px: what a saved graph always has room for; there the curves are drawn without words
const NEW_HEIGHT = 160; // px, on a node that is made by hand
const WORDS_FROM = 80; // px
const FONT = 10; // px
const NOTHING_YET = "Load Audio shows its gate here before a run, anything else after it.";

const plots = new WeakMap(); // node → Plot

function svg(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

const label = (x, y, text, anchor, fill = COLOURS.axis) =>
  svg("text", { x, y, "text-anchor": anchor, fill, "font-size": FONT, "font-family": "sans-serif" }, text);

/** Seconds between the marks of an axis that has room for so many. */
function markEvery(seconds, room) {
  const least = seconds / Math.max(room, 1);
  return [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600].find((step) => step >= least) ?? 3600;
}

class Plot {
  constructor() {
    this.element = document.createElement("div");
    this.element.className = "apoavatar-gate";
    Object.assign(this.element.style, {
      minHeight: `${STRIP}px`, background: "#181a20", borderRadius: "6px", overflow: "hidden", position: "relative",
    });
    this.numbers = null;
    this.sentence = NOTHING_YET;
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  /** Shows numbers as the pack's Python gives them, or its sentence. `source` says what they are the gate of. */
  show({ error, ...numbers }, source) {
    this.numbers = error ? null : numbers;
    this.sentence = error ?? source;
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
    Object.assign(picture.style, { position: "absolute", inset: "0" });
    if (this.numbers) this.drawGate(picture, width, height);
    else picture.append(label(8, Math.min(height / 2, 24) + 3, this.sentence, "start", COLOURS.error));
    picture.append(svg("title", {}, this.sentence));
    this.element.replaceChildren(picture);
  }

  drawGate(picture, width, height) {
    const words = height >= WORDS_FROM;
    const [left, right, top, bottom] = words ? [22, width - 8, 20, height - 18] : [2, width - 2, 2, height - 2];
    const { frames, fps, step, beta, normalized, keep, wave } = this.numbers;
    const x = (share) => left + share * (right - left);
    const y = (value) => bottom - value * (bottom - top);
    const middles = keep.map((_, place) => x((place * step + 0.5) / frames));
    const curve = (values) => values.map((value, place) => `${middles[place].toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    const bars = wave.map((peak, place) => {
      const [low, high] = [y(0.5 - peak / 2), y(0.5 + peak / 2)].map((end) => end.toFixed(1));
      return `M${x((place + 0.5) / wave.length).toFixed(1)} ${low}V${high}`;
    });
    const line = (name, points) =>
      svg("polyline", { "data-curve": name, points, fill: "none", stroke: COLOURS[name], "stroke-width": 1.3 });
    picture.append(
      svg("path", { "data-curve": "wave", d: bars.join(""), stroke: COLOURS.wave }),
      svg("line", {
        "data-curve": "beta", x1: left, x2: right, y1: y(beta), y2: y(beta), stroke: COLOURS.beta, "stroke-dasharray": "4 3",
      }),
      line("normalized", curve(normalized)),
      line("keep", curve(keep)),
    );
    if (words) this.drawWords(picture, { left, right, top, bottom, x, y, seconds: frames / fps });
  }

  drawWords(picture, { left, right, top, bottom, x, y, seconds }) {
    for (const value of [0, 0.5, 1]) picture.append(label(left - 4, y(value) + 3, value, "end"));
    const every = markEvery(seconds, (right - left) / 50);
    for (let second = 0; second <= seconds + 1e-6; second += every) {
      const place = x(second / seconds);
      const written = `${Number(second.toFixed(1))} s`;
      picture.append(svg("line", { x1: place, x2: place, y1: bottom, y2: bottom + 3, stroke: COLOURS.axis }));
      picture.append(label(place, bottom + 13, written, place > right - 12 ? "end" : "middle"));
    }
    picture.append(svg("path", { d: `M${left} ${top}V${bottom}H${right}`, stroke: COLOURS.axis, fill: "none" }));
    let place = left;
    for (const [text, name] of LEGEND) {
      picture.append(svg("line", {
        x1: place, x2: place + 10, y1: 10, y2: 10, stroke: COLOURS[name], "stroke-width": 2,
        "stroke-dasharray": name === "beta" ? "4 2" : "none",
      }));
      picture.append(label(place + 13, 13, text, "start"));
      place += 24 + text.length * FONT * 0.52;
    }
    const room = Math.floor((right - place) / (FONT * 0.52));
    const source = this.sentence.length > room ? `${this.sentence.slice(0, Math.max(room - 1, 0))}…` : this.sentence;
    if (room > 6) picture.append(label(right, 13, source, "end"));
  }
}

/** What the route is asked: the file and the dials as far as they are known; null without a file. */
function question(node) {
  const sound = origin(node, "audio");
  const file = sound?.type === "LoadAudio" ? valueOf(sound, "audio") : undefined;
  if (!file) return null;
  const dials = DIALS.map((name) => [name, valueOf(node, name)]).filter(([, value]) => value !== undefined);
  return { file, ...Object.fromEntries(dials) };
}

/** The gate before a run. Of questions in quick succession only the last is answered. */
async function ask(node, query) {
  const plot = plots.get(node);
  if (!plot) return;
  plot.asking?.abort();
  if (!query) return plot.numbers || plot.show({ error: NOTHING_YET });
  const { signal } = (plot.asking = new AbortController());
  try {
    const response = await api.fetchApi(`/apoavatar/gate?${new URLSearchParams(query)}`, { signal });
    const answer = await response.json();
    if (!signal.aborted) plot.show(answer, `gate of ${query.file}`);
  } catch (error) {
    if (!signal.aborted) plot.show({ error: "The server does not answer: the gate appears after a run." });
  }
}

app.registerExtension({
  name: "ApoAvatar.Gate",

  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    const plot = new Plot();
    plots.set(node, plot);
    const widget = node.addDOMWidget("apoavatar_gate", "apoavatar_gate", plot.element, {
      serialize: false, hideOnZoom: false, margin: 4, getMinHeight: () => STRIP,
    });
    widget.serialize = false;
    node.setSize([Math.max(node.size[0], 400), node.size[1] + NEW_HEIGHT - STRIP]); // a saved size comes later and wins
    const { onExecuted } = node;
    node.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      const [numbers] = output?.apoavatar_gate ?? [];
      if (!numbers) return;
      plot.asking?.abort();
      plot.show(numbers, "gate of the last run");
    };
  },

  setup() {
    watch([NODE], question, ask);
  },
});
