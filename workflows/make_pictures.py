"""Picture the workflows: `python workflows/make_pictures.py`, in the environment of `dev.py`, with Chromium.

Runs those whose models are in the repository, and the previews of those that have one, and writes frames of their films as
thumbnails beside them, and strips of each mode's frames into `docs`, with the page that shows the graph and the nodes that
show the gate and the pose. The thumbnails of the others, cards, say what they are for, over what goes into them. Arguments
make only some of it: cards, films, strips, graph, nodes.
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page

FOLDER = Path(__file__).resolve().parent
DOCS = FOLDER.parent / "docs"
sys.path.insert(0, str(FOLDER.parent))

from apoavatar_core.hearing import heard_voice  # noqa: E402
from apoavatar_core.refocusing import RefocusingConfig, gate_of  # noqa: E402
from apoavatar_core.refocusing_plot import plot_gate  # noqa: E402
from devtools import browser, demo, environment, server, workflow  # noqa: E402

PORTRAIT = "ApoAvatar talking avatar from a portrait - tiny model"
POSE = "ApoAvatar gestures of a pose video - tiny model"
STRIPS = {
    "demo": (PORTRAIT, "pose_free"),
    "hard": (POSE, "hard"),
    "refocused": (POSE, "refocused"),
    "reference_free": ("ApoAvatar talking avatar from text - tiny model", "pose_free"),
}
"""Pictures in `docs`: a workflow and the pose mode that it is run with."""
PRESENTER, FILM = "presenter.png", "gestures.mp4"
CARDS = {
    "ApoAvatar Wan InfiniteTalk lip sync in 4 steps": ("Your portrait speaks", "Wan 2.1, InfiniteTalk, four steps", PRESENTER),
    "ApoAvatar Wan InfiniteTalk lip sync in 40 steps": ("Your portrait speaks", "Wan 2.1, InfiniteTalk, forty steps", PRESENTER),
    "ApoAvatar Wan InfiniteTalk long talking video": (
        "Speaks as long as you like", "Wan 2.1, InfiniteTalk, window after window", PRESENTER,
    ),
    "ApoAvatar Wan UniAnimate gestures of a film": ("Gestures as in a film", "Wan 2.1, InfiniteTalk, UniAnimate", FILM),
    "ApoAvatar Wan with your own adapter": ("A described person speaks", "Wan 2.1 1.3B, an adapter of your own", None),
}  # fmt: skip
"""What the workflows are for that nobody has run here: two lines, and the picture of the example that goes into them."""
CARD = 512
THUMBNAIL_FRAMES = (8, 16, 22, 36)
STRIP_FRAMES = range(0, 48, 6)
CELL = 256
SETTINGS = {"Comfy.VueNodes.Enabled": True, "Comfy.Minimap.Visible": False, "Comfy.Graph.CanvasInfo": False}
GRAPH_PAGE = (1950, 1138)
BARS = 92
"""Pixels that the page's own bars and menus take at the edges."""


def main() -> None:
    wanted = sys.argv[1:] or ["cards", "films", "strips", "graph", "nodes"]
    if "cards" in wanted:
        for name, (title, line, shown) in CARDS.items():
            write(FOLDER / f"{name}.jpg", card(title, line, shown))
    parts = [part for part in (films, strips, graph, nodes) if part.__name__ in wanted]
    if parts:
        layout = environment.Layout(FOLDER.parent)
        environment.link_pack(layout)
        with server.running_server(layout) as running:
            for part in parts:
                part(running)


def films(running: server.ComfyServer) -> None:
    """The thumbnails of what can run here, that of the app with them."""
    definitions = running.object_info()
    for path in sorted(FOLDER.glob("*.json")):
        if path.stem not in CARDS and not path.stem.endswith(".app"):
            frames, plot = run(running, workflow.to_prompt(workflow.load(path), definitions))
            write(path.with_suffix(".jpg"), thumbnail(frames, plot))
    shutil.copy(FOLDER / f"{PORTRAIT}.jpg", FOLDER / f"{PORTRAIT}.app.jpg")


def strips(running: server.ComfyServer) -> None:
    """STRIPS."""
    definitions = running.object_info()
    for name, (stem, pose_mode) in STRIPS.items():
        prompt = workflow.to_prompt(workflow.load(FOLDER / f"{stem}.json"), definitions)
        workflow.choose(prompt, definitions, "ApoAvatarConditioning", "pose_mode", pose_mode)
        write(DOCS / f"{name}.jpg", film_under_its_sound(*run(running, prompt)))


def graph(running: server.ComfyServer) -> None:
    """The page with the portrait workflow."""
    width, height = GRAPH_PAGE
    with page_with(running, FOLDER / f"{PORTRAIT}.json", GRAPH_PAGE, BARS) as page:
        clip = {"x": BARS, "y": BARS, "width": width - 2 * BARS, "height": height - 2 * BARS}
        write(DOCS / "graph.jpg", decoded(page.screenshot(clip=clip)))


def nodes(running: server.ComfyServer) -> None:
    """The nodes that show the gate and the pose on themselves, after a run without a model that draws."""
    with page_with(running, FOLDER / f"{GESTURES}.json", GRAPH_PAGE, BARS) as page:
        page.evaluate(RUN)
        page.wait_for_function(f"{PLAYER}?.readyState > 0")
        page.evaluate(f"[{PLAYER}.controls, {PLAYER}.currentTime] = [false, {MOMENT}]")
        page.wait_for_function(f"!{PLAYER}.seeking")
        pictures = [decoded(page.screenshot(clip=page.evaluate(ALONE, node))) for node in SHOWING]
    height = max(len(picture) for picture in pictures)
    even = [np.pad(picture, ((0, height - len(picture)), (0, 0), (0, 0)), constant_values=CANVAS) for picture in pictures]
    write(DOCS / "on_the_nodes.jpg", np.concatenate(even, axis=1))


def card(title: str, line: str, shown: str | None) -> np.ndarray:
    """What a workflow is for, over the example's picture and voice that go into it: [CARD, CARD, 3]. It shows no film."""
    picture = Image.new("RGB", (CARD, CARD), "#181a20")
    draw = ImageDraw.Draw(picture)
    if shown:
        with av.open(str(FOLDER / "assets" / shown)) as container:
            seen = list(container.decode(video=0))[-1].to_image().resize((272, 272))
        picture.paste(seen, (120, 20))
    else:
        words = "a woman with\na brown bun, in a\nblack T-shirt,\ntalks ..."
        draw.multiline_text((CARD // 2, 156), words, "#9fd08a", ImageFont.load_default(36), "mm", spacing=14, align="center")
    with av.open(str(FOLDER / "assets" / "speech.wav")) as container:
        voice = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1) / np.float32(32768)
        heard = heard_voice(voice, container.streams.audio[0].rate)
    plot = plot_gate(heard.samples, gate_of(heard, 49, 24.0, RefocusingConfig()))
    picture.paste(Image.fromarray(plot).resize((448, 72), Image.Resampling.LANCZOS), (32, 312))
    for text, top, size, colour in (
        (title, 420, 36, "white"), (line, 458, 20, "#c8ccd4"),
        ("what goes in; the film is made with models that you download", 489, 15, "#8a8f9a"),
    ):  # fmt: skip
        draw.text((CARD // 2, top), text, colour, ImageFont.load_default(size), "mm")
    return np.asarray(picture)


FILL_CANVAS = """([x, y, width, height, bars]) => {
    const {canvas, ds} = app.canvas;
    const scale = Math.min((canvas.width - 2 * bars) / width, (canvas.height - 2 * bars) / height);
    [ds.scale, ds.offset] = [scale, [canvas.width / scale / 2 - x - width / 2, canvas.height / scale / 2 - y - height / 2]];
    app.canvas.draw(true, true);
}"""

GESTURES = "ApoAvatar gestures from voice - skeleton on a portrait"
SHOWING, MOMENT, CANVAS = ("ApoAvatarLoudnessRefocusing", "ApoAvatarRenderPose"), 1.1, 0x18
"""Nodes that show something, seconds at which the pose is seen, and the brightness of the page's canvas."""
RUN = """() => new Promise((resolve, reject) => {
    app.api.addEventListener("execution_success", resolve, {once: true});
    app.api.addEventListener("execution_error", event => reject(event.detail.exception_message), {once: true});
    app.queuePrompt(0);
})"""
PLAYER = "[...document.querySelectorAll('video')].find(({currentSrc}) => currentSrc.includes('apoavatar_player'))"
ALONE = """async type => {
    const node = app.graph.nodes.find(node => node.type === type);
    [app.canvas.ds.scale, app.canvas.ds.offset] = [1.25, [200 - node.pos[0], 200 - node.pos[1]]];
    app.canvas.setDirty(true, true);
    await new Promise(resolve => setTimeout(resolve, 1500));
    const {x, y, width, height} = document.querySelector(`[data-node-id="${node.id}"]`).getBoundingClientRect();
    return {x: x - 10, y: y - 10, width: width + 20, height: height + 20};
}"""
"""Where a node is on the screen, after it has been brought near the middle; in Nodes 2.0 it is an element of the page."""


@contextmanager
def page_with(running: server.ComfyServer, path: Path, size: tuple[int, int], bars: int) -> Iterator[Page]:
    """ComfyUI's page of this size with a workflow in its middle, `bars` pixels from the edges where the page has its own."""
    saved = workflow.load(path)
    corners = np.array([group["bounding"] for group in saved["groups"]])
    low, high = corners[:, :2].min(0), (corners[:, :2] + corners[:, 2:]).max(0)
    with browser.chromium() as running_browser, browser.page_of(running, running_browser, size, SETTINGS) as page:
        page.evaluate("saved => app.loadGraphData(saved)", saved)
        page.wait_for_timeout(2000)
        page.evaluate(FILL_CANVAS, [*low.tolist(), *(high - low).tolist(), bars])
        page.wait_for_timeout(2000)  # for the loaders' pictures
        yield page


def decoded(png: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def run(running: server.ComfyServer, prompt: dict) -> tuple[list[np.ndarray], np.ndarray]:
    """The frames of the film that a workflow makes without files that are missing, and its voice with the gate as a picture."""
    frames, voice, rate, fps = watch(demo.generate(running, prompt, partly=True))
    heard = heard_voice(voice, rate)
    return frames, plot_gate(heard.samples, gate_of(heard, len(frames), fps, RefocusingConfig()))


def watch(video: bytes) -> tuple[list[np.ndarray], np.ndarray, int, float]:
    """Frames uint8 [H, W, 3], samples [C, S], sample rate and frame rate of an MP4."""
    with av.open(io.BytesIO(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        fps = float(container.streams.video[0].average_rate)
    with av.open(io.BytesIO(video)) as container:
        rate = container.streams.audio[0].rate
        voice = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    return frames, voice, rate, fps


def enlarge(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (CELL, CELL), interpolation=cv2.INTER_CUBIC)


def thumbnail(frames: list[np.ndarray], plot: np.ndarray) -> np.ndarray:
    """Four frames above the voice with its gate: [2 · CELL, 2 · CELL, 3]."""
    chosen = [enlarge(frames[t])[16:-16] for t in THUMBNAIL_FRAMES]
    rows = [np.concatenate(chosen[i : i + 2], axis=1) for i in (0, 2)]
    return np.concatenate([*rows, cv2.resize(plot, (2 * CELL, 64), interpolation=cv2.INTER_AREA)])


def film_under_its_sound(frames: list[np.ndarray], plot: np.ndarray) -> np.ndarray:
    """The voice with its gate above frames at equal distances."""
    row = np.concatenate([enlarge(frames[t]) for t in STRIP_FRAMES], axis=1)
    return np.concatenate([cv2.resize(plot, (row.shape[1], CELL), interpolation=cv2.INTER_AREA), row])


def write(path: Path, rgb: np.ndarray) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
