/** Audio Loudness Refocusing draws its gate on itself: before a run that of Load Audio's file, after it the run's. */

import { app } from "../../scripts/app.js";
import { asking, isConnected, look, origin, shownNodes, valueOf, watch } from "./graph.js";

const NODE = "ApoAvatarLoudnessRefocusing";
const DIALS = ["fps", "frames", "alpha", "beta", "tau", "q_low", "q_high"];
const COLOURS = {
  wave: "#3f6787", normalized: "#9fd08a", keep: "#faa03c", beta: "#d8d8d8", axis: "#9a9fae", player: "#ffffff", error: "#f0c070",
};
const BACKGROUND = "#181a20";
const LEGEND = [["voice", "wave"], ["loudness s̃", "normalized"], ["keep weight", "keep"], ["β", "beta"]];
const STRIP = 28; // px: what a saved graph always has room for; there the curves are drawn without words
const NEW_HEIGHT = 160; // px, on a node that is made by hand
const WORDS_FROM = 80; // px
const FONT = 10; // px
const LETTER = FONT * 0.53; // px, about
const NOTHING_YET = "The gate is drawn here: with Load Audio at once, else after a run.";
const EXAMPLE = "example";

const plots = new WeakMap(); // node → Plot

function svg(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

const label = (x, y, text, anchor, fill = COLOURS.axis) =>
  svg("text", { x, y, "text-anchor": anchor, fill, "font-size": FONT, "font-family": "sans-serif" }, text);

const upright = (x, { top, bottom }, name) =>
  svg("line", { "data-mark": name, x1: x, x2: x, y1: top, y2: bottom, stroke: COLOURS[name] ?? COLOURS.axis, "stroke-width": 1 });

/** Seconds between the marks of an axis that has room for so many. */
function markEvery(seconds, room) {
  const least = seconds / Math.max(room, 1);
  return [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600].find((step) => step >= least) ?? 3600;
}

/** The numbers of a gate, as `drawn_numbers` gives them, in a box of so many pixels. */
class Scale {
  constructor(width, height, numbers) {
    this.words = height >= WORDS_FROM;
    const edges = this.words ? [26, width - 10, 22, height - 20] : [2, width - 2, 2, height - 2];
    [this.left, this.right, this.top, this.bottom] = edges;
    this.numbers = numbers;
    this.seconds = numbers.frames / numbers.fps;
  }

  x(share) {
    return this.left + share * (this.right - this.left);
  }

  y(value) {
    return this.bottom - value * (this.bottom - this.top);
  }

  /** Where a second is. */
  at(second) {
    return this.x(second / this.seconds);
  }

  /** The middle of a listed frame. */
  middle(place) {
    return this.x(Math.min((place * this.numbers.step + 0.5) / this.numbers.frames, 1));
  }

  /** The listed frame under a pixel. */
  placeAt(x) {
    const frame = ((x - this.left) / (this.right - this.left)) * this.numbers.frames;
    return Math.min(Math.max(Math.floor(frame / this.numbers.step), 0), this.numbers.keep.length - 1);
  }
}

function curves(scale) {
  const { beta, normalized, keep, wave } = scale.numbers;
  const point = (value, place) => `${scale.middle(place).toFixed(1)},${scale.y(value).toFixed(1)}`;
  const points = (values) => values.map(point).join(" ");
  const line = (name, values) =>
    svg("polyline", { "data-curve": name, points: points(values), fill: "none", stroke: COLOURS[name], "stroke-width": 1.5 });
  const bars = wave.map((peak, place) => {
    const [low, high] = [0.5 - peak / 2, 0.5 + peak / 2].map((end) => scale.y(end).toFixed(1));
    return `M${scale.x((place + 0.5) / wave.length).toFixed(1)} ${low}V${high}`;
  });
  const half = { x1: scale.left, x2: scale.right, y1: scale.y(beta), y2: scale.y(beta) };
  return [
    svg("path", { "data-curve": "wave", d: bars.join(""), stroke: COLOURS.wave }),
    svg("line", { "data-curve": "beta", ...half, stroke: COLOURS.beta, "stroke-dasharray": "4 3" }),
    line("normalized", normalized),
    line("keep", keep),
  ];
}

function axes(scale) {
  const { left, right, top, bottom, seconds } = scale;
  const parts = [svg("path", { d: `M${left} ${top}V${bottom}H${right}`, stroke: COLOURS.axis, fill: "none" })];
  for (const value of [0, 0.5, 1]) parts.push(label(left - 5, scale.y(value) + 4, value, "end"));
  const every = markEvery(seconds, (right - left) / 50);
  for (let second = 0; second <= seconds + 1e-6; second += every) {
    const x = scale.at(second);
    parts.push(svg("line", { x1: x, x2: x, y1: bottom, y2: bottom + 3, stroke: COLOURS.axis }));
    parts.push(label(x, bottom + 15, `${Number(second.toFixed(1))} s`, x > right - 12 ? "end" : "middle"));
  }
  return parts;
}

/** What the colours mean, with the values under the pointer where there is one, and where room is left what is drawn. */
function legend(scale, values, word) {
  const parts = [];
  let x = scale.left;
  for (const [text, name] of LEGEND) {
    const dashes = name === "beta" ? "4 2" : "none";
    const stroke = { stroke: COLOURS[name], "stroke-width": 2, "stroke-dasharray": dashes };
    const written = values[name] === undefined ? text : `${text} ${values[name].toFixed(2)}`;
    parts.push(svg("line", { x1: x, x2: x + 10, y1: 11, y2: 11, ...stroke }));
    parts.push(label(x + 13, 15, written, "start"));
    x += 20 + written.length * LETTER;
  }
  const room = Math.floor((scale.right - x) / LETTER);
  if (room > 5) parts.push(label(scale.right, 15, word.length > room ? `${word.slice(0, room - 1)}…` : word, "end"));
  return parts;
}

/** The picture on one node. */
class Plot {
  constructor() {
    this.element = document.createElement("div");
    this.element.className = "apoavatar-gate";
    Object.assign(this.element.style, {
      minHeight: `${STRIP}px`, background: BACKGROUND, borderRadius: "6px", overflow: "hidden", position: "relative",
    });
    this.numbers = null;
    this.sentence = NOTHING_YET;
    this.ofRun = false;
    this.sound = null; // the name of the one before the node, for its player
    this.played = null; // seconds
    this.pointed = null; // px
    this.marks = svg("g");
    new ResizeObserver(() => this.draw()).observe(this.element);
    this.element.addEventListener("pointermove", (event) => {
      const { left, width } = this.element.getBoundingClientRect(); // on the screen, where the canvas is zoomed
      this.pointed = ((event.clientX - left) / width) * this.element.clientWidth;
      this.mark();
    });
    this.element.addEventListener("pointerleave", () => {
      this.pointed = null;
      this.mark();
    });
    this.ask = asking("/apoavatar/gate", (answer, question) => {
      if (question !== this.question) return; // a run came in between
      if (answer) this.show(answer, question.sound);
      else if (!this.ofRun) this.show({ error: NOTHING_YET });
    });
  }

  /** Draws the gate before a run; without a sound that is known there is none. */
  lookAt(question) {
    this.question = question;
    this.sound = question?.sound ?? null;
    this.ask(question);
  }

  showRun(numbers) {
    this.question = undefined;
    this.show(numbers, "last run");
    this.ofRun = true;
  }

  /** Shows numbers as the pack's Python gives them, or its sentence. `source` says what they are of. */
  show({ error, ...numbers }, source = "") {
    this.ofRun = false;
    this.numbers = error ? null : numbers;
    this.sentence = error ?? source;
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    if (!this.numbers) return this.write(height);
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
    Object.assign(picture.style, { position: "absolute", inset: "0" });
    this.scale = new Scale(width, height, this.numbers);
    picture.append(...curves(this.scale), ...(this.scale.words ? axes(this.scale) : []), this.marks);
    this.element.replaceChildren(picture);
    this.element.title = this.scale.words ? "" : this.sentence;
    this.mark();
  }

  /** The sentence alone. */
  write(height) {
    const words = document.createElement("div");
    words.textContent = this.sentence;
    Object.assign(words.style, { color: COLOURS.error, font: "12px/1.35 sans-serif", padding: height < 40 ? "2px 8px" : "8px" });
    this.element.replaceChildren(words);
    this.element.title = this.sentence;
  }

  /** What changes over the curves: legend, pointer and playhead. */
  mark() {
    if (!this.numbers || !this.scale) return;
    const { scale, pointed, played, numbers } = this;
    const parts = [];
    const values = {};
    if (pointed !== null) {
      const place = scale.placeAt(pointed);
      [values.normalized, values.keep] = [numbers.normalized[place], numbers.keep[place]];
      parts.push(...reading(scale, scale.middle(place), (place * numbers.step) / numbers.fps, values));
    }
    if (played !== null && played <= scale.seconds) parts.push(upright(scale.at(played), scale, "player"));
    if (scale.words) parts.push(...legend(scale, values, this.sentence));
    this.marks.replaceChildren(...parts);
  }
}

/** What is under the pointer: a line, a point on each curve, and the time; the values too where no legend has them. */
function reading(scale, x, second, values) {
  const points = ["normalized", "keep"].map((name) =>
    svg("circle", { cx: x, cy: scale.y(values[name]), r: 2.5, fill: COLOURS[name] }));
  const time = `${second.toFixed(2)} s`;
  const [loudness, keep] = [values.normalized, values.keep].map((value) => value.toFixed(2));
  const text = scale.words
    ? label(Math.min(Math.max(x, scale.left + 8), scale.right - 12), scale.bottom + 15, time, "middle", COLOURS.player)
    : label(8, 18, `${time}, loudness ${loudness}, keep weight ${keep}`, "start", COLOURS.player);
  const behind = { stroke: BACKGROUND, "stroke-width": 6, "paint-order": "stroke" };
  for (const [name, value] of Object.entries(behind)) text.setAttribute(name, value);
  return [upright(x, scale, "pointer"), ...points, text];
}

/** The sound before an input: Load Audio's file, or the example's voice with nothing connected in its place; else null. */
function soundOf(node, input) {
  const from = origin(node, input);
  if (from?.type === "ApoAvatarExample") return isConnected(from, "voice") ? soundOf(from, "voice") : { example: EXAMPLE };
  const file = from?.type === "LoadAudio" ? valueOf(from, "audio") : undefined;
  return file ? { file } : null;
}

/** What the route is asked: the sound and the dials as far as they are known; null without a sound. */
function question(node) {
  const sound = soundOf(node, "audio");
  const dials = DIALS.map((name) => [name, valueOf(node, name)]).filter(([, value]) => value !== undefined);
  return sound && { sound: sound.file ?? sound.example, query: { ...sound, ...Object.fromEntries(dials) } };
}

/** What a player on the page plays: a file of ComfyUI's folders as Load Audio names it, or the example's voice. */
function soundIn(player) {
  if (player.closest(".apoavatar-example")) return EXAMPLE;
  const asked = URL.canParse(player.currentSrc) ? new URL(player.currentSrc).searchParams : new URLSearchParams();
  const [name, folder] = [asked.get("filename"), asked.get("subfolder")];
  return name && folder ? `${folder}/${name}` : name;
}

/** Where somebody who listens to a sound is, in seconds; null where nobody does. */
function heardUpTo(sound, players) {
  const own = players.filter((player) => soundIn(player) === sound && (!player.paused || player.currentTime > 0));
  return (own.find((player) => !player.paused) ?? own[0])?.currentTime ?? null;
}

/** Playheads go with the players of their sounds, whichever renderer made them: those are other nodes', and their events too. */
function followPlayers() {
  look(() => {
    const shown = shownNodes().map((node) => plots.get(node)).filter((plot) => plot?.sound);
    const players = shown.length ? [...document.querySelectorAll("audio, video")] : [];
    for (const plot of shown) {
      const played = heardUpTo(plot.sound.replace(/ \[\w+\]$/, ""), players);
      if (played === plot.played) continue;
      plot.played = played;
      plot.mark();
    }
  });
}

app.registerExtension({
  name: "apoavatar.Gate",

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
      if (numbers) plot.showRun(JSON.parse(numbers));
    };
  },

  setup() {
    watch([NODE], question, (node, asked) => plots.get(node)?.lookAt(asked));
    followPlayers();
  },
});
