"""How long after a dial is dragged the gate's curve on its node follows: `python dev.py bench page`.

In ComfyUI's real page with the real server: the mouse drags each dial of Audio Loudness Refocusing, and the page itself tells
when a dial had a value and when the curve of that value was on the screen.
"""

from __future__ import annotations

import tempfile
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import torch

from apoavatar_core.evaluation.target import Target
from devtools.browser import chromium, page_of
from devtools.environment import Layout
from devtools.server import ComfyServer, running_server

from .report import Finding, machine, of_rounds, told

VOICE = Path(__file__).resolve().parents[1] / "workflows" / "assets" / "speech.wav"
DIALS = ("alpha", "beta", "tau", "q_low", "q_high")
RENDERERS = {"classic": (False, 1), "Nodes 2.0": (True, 10)}
"""Whether the page draws its nodes as Nodes 2.0 does, and pixels of the mouse from one value of a dial to the next."""
MINUTES = 10
"""Of the longer sound: the most that is looked at before a run."""
MOVES, EVERY = 20, 25
"""How often the mouse moves while it drags a dial, and milliseconds from one to the next."""
AT_ONCE = Target("≤", 150.0)
MOST = 95
"""Percent of the curves that shall be there in time: a busy machine stops every program now and then."""
FRAME = 1000 / 60
"""Milliseconds: the page looks at its dials once in each of its frames (js/graph.js)."""
PARTS = ("until the page asks", "until it is answered", "until it is drawn", "until it is on the screen")

GRAPH = """async file => {
    await app.loadGraphData({nodes: [], links: [], groups: [], last_node_id: 0, last_link_id: 0, version: 0.4});
    const [sound, gate] = ["LoadAudio", "ApoAvatarLoudnessRefocusing"].map((type, place) => {
        const node = LiteGraph.createNode(type);
        app.graph.add(node);
        node.pos = [450 * place, 0];
        node.showAdvanced = true; // Nodes 2.0 would hide the dials
        return node;
    });
    [app.canvas.ds.offset, app.canvas.ds.scale] = [[100, 150], 1];
    if (!file) return;
    const widget = sound.widgets.find(({name}) => name === "audio");
    widget.options.values.push(file);
    widget.value = file;
    sound.connect(0, gate, gate.inputs.findIndex(({name}) => name === "audio"));
}"""
CURVE = ".apoavatar-gate [data-curve=keep]"
PLACE = """name => {
    const node = app.graph.nodes.find(({type}) => type === "ApoAvatarLoudnessRefocusing");
    const dial = node.widgets.find(widget => widget.name === name);
    const box = document.querySelector(`[data-node-id="${node.id}"] [aria-label="${name}"]`)?.getBoundingClientRect();
    if (box) return [box.x + box.width / 2, box.y + box.height / 2];
    const {offset: [left, top], scale} = app.canvas.ds;
    const {x, y} = app.canvas.canvas.getBoundingClientRect();
    return [x + (node.pos[0] + left + node.size[0] / 2) * scale, y + (node.pos[1] + top + dial.y + 10) * scale];
}"""
"""The middle of a dial on the screen, in either renderer."""
WATCH = """name => {
    const node = app.graph.nodes.find(({type}) => type === "ApoAvatarLoudnessRefocusing");
    const dial = node.widgets.find(widget => widget.name === name);
    const seen = {values: [[performance.now(), dial.value]], drawn: [], answers: []};
    const look = ({timeStamp}) => setTimeout(() => {
        if (dial.value !== seen.values.at(-1)[1]) seen.values.push([timeStamp, dial.value]);
    });
    window.addEventListener("pointermove", look, true);
    const drawing = new MutationObserver(() => {
        const drawn = performance.now();
        requestAnimationFrame(() => setTimeout(() => seen.drawn.push([drawn, performance.now()])));
    });
    drawing.observe(document.querySelector(".apoavatar-gate"), {childList: true});
    const answering = new PerformanceObserver(list => list.getEntries().forEach(({name: asked, startTime, responseEnd}) => {
        if (asked.includes("/apoavatar/gate"))
            seen.answers.push([startTime, responseEnd, Number(new URL(asked).searchParams.get(name))]);
    }));
    answering.observe({type: "resource"});
    window.setDial = value => { dial.value = value; };
    window.isDrawn = () => seen.answers.at(-1)?.[2] === dial.value && seen.drawn.at(-1)?.[0] >= seen.answers.at(-1)[1];
    window.watched = () => {
        window.removeEventListener("pointermove", look, true);
        [drawing, answering].forEach(observer => observer.disconnect());
        return seen;
    };
}"""
"""Keeps, in milliseconds of the page's clock, when the mouse gave a dial which values, when the page asked for the curve of which
and had the answer, and when a curve was drawn and then on the screen.
"""


def run(layout: Layout, path: Path | None) -> None:
    """Measure, print, and write the JSON."""
    where = machine(torch.device("cpu"))
    with running_server(layout) as server:
        findings = measure(server, MINUTES, MOVES)
    about = f"From a dial's value to its curve on the screen; {len(DIALS)} dials are dragged over {MOVES} values each"
    told(where, about, findings, path, minutes=MINUTES)


def measure(server: ComfyServer, minutes: float, moves: int) -> list[Finding]:
    """For the example's voice, and for so many minutes of it, in both renderers."""
    with tempfile.TemporaryDirectory() as folder:
        long = spoken(Path(folder) / "long.wav", minutes)
        sounds = {"2 s of voice": server.upload(VOICE), f"{minutes:g} minutes of voice": server.upload(long)}
    findings = []
    with chromium() as browser, page_of(server, browser) as page:
        for renderer, (on, step) in RENDERERS.items():
            page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", on)
            for title, file in sounds.items():
                page.evaluate(GRAPH, file)
                page.locator(CURVE).wait_for()
                curves = [curve for name in DIALS for curve in dragged(page, name, step, moves)]
                findings += found(f"{renderer}, {title}", curves, one_by_one(page, server, moves))
        page.evaluate("app.extensionManager.setting.set('Comfy.VueNodes.Enabled', false)")  # the server keeps it
    return findings


def one_by_one(page, server: ComfyServer, count: int) -> dict[str, float]:
    """The processor's milliseconds of a curve, of server and browser, where no mouse has the page draw anything else."""
    page.evaluate(WATCH, "beta")
    before = processor_seconds(server)
    for number in range(count):
        page.evaluate("value => setDial(value)", 0.4 + 0.2 * number / count)
        page.wait_for_function("isDrawn()", polling=50)
    used = [1000 * (after - earlier) / count for earlier, after in zip(before, processor_seconds(server))]
    page.evaluate("watched()")
    return dict(zip(("server", "browser"), used))


def processor_seconds(server: ComfyServer) -> tuple[float, float]:
    """What the server and the browser, which this process has started, have used so far."""
    of_server = psutil.Process(server.process.pid)
    programs = {process.pid: sum(process.cpu_times()[:2]) for process in psutil.Process().children(recursive=True)}
    served = sum(of_server.cpu_times()[:2])
    return served, sum(programs.values()) - programs.get(of_server.pid, 0.0)


def dragged(page, name: str, step: int, moves: int) -> list[tuple[float, ...]]:
    """The times of every curve that is drawn while the mouse drags a dial."""
    x, y = page.evaluate(PLACE, name)
    page.evaluate(WATCH, name)
    page.mouse.move(x, y)
    page.mouse.down()
    for move in range(1, moves + 1):
        page.mouse.move(x + move * (-step if name == "q_high" else step), y)
        page.wait_for_timeout(EVERY)
    page.mouse.up()
    page.wait_for_function("isDrawn()", polling=50)
    return times(page.evaluate("watched()"))


def times(seen: dict) -> list[tuple[float, ...]]:
    """When each curve's value was given, asked for, answered, drawn and on the screen, from what WATCH keeps."""
    found = []
    for asked, answered, value in seen["answers"]:
        given = max(time for time, one in seen["values"] if one == value and time <= asked)
        drawn, shown = min(times for times in seen["drawn"] if times[0] >= answered)
        found.append((given, asked, answered, drawn, shown))
    return found


def found(title: str, curves: list[tuple[float, ...]], used: dict[str, float]) -> list[Finding]:
    """What is read from the times of curves and the processor's milliseconds of one."""
    key = "_".join(title.lower().replace(",", "").split())
    ages = [curve[-1] - curve[0] for curve in curves]
    alone = sum(used.values()) + FRAME
    parts = zip(*([later - earlier for earlier, later in pairwise(curve)] for curve in curves))
    return [
        of_rounds(key, title, f"{len(curves)} curves", ages, "ms"),
        Finding(f"{key}_most", title, f"{MOST} % of them", float(np.percentile(ages, MOST)), "ms", target=AT_ONCE),
        *(of_rounds(f"{key}_{place}", title, part, values, "ms") for place, (part, values) in enumerate(zip(PARTS, parts))),
        *(Finding(f"{key}_{name}", title, f"the processor's time, {name}", value, "ms") for name, value in used.items()),
        Finding(f"{key}_alone", title, f"it and a frame of the page, {FRAME:.0f} ms", alone, "ms", target=AT_ONCE),
    ]


def spoken(path: Path, minutes: float) -> Path:
    """A file of the example's voice, over and over."""
    with wave.open(str(VOICE)) as file:
        parameters, samples = file.getparams(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams(parameters)
        file.writeframes(np.resize(samples, round(minutes * 60 * parameters.framerate)).tobytes())
    return path
