"""What the nodes show on themselves, in the classic renderer and in Nodes 2.0 (`js/`)."""
import json
from pathlib import Path

import numpy as np
import pytest

from apoavatar_core.pose import PersonKeypoints, to_frame

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RENDERERS = ["classic", "nodes 2.0"]
NOBODY = "Nobody speaks or sings in this audio: the body rests."
ASSETS = Path(__file__).resolve().parents[2] / "workflows" / "assets"


@pytest.fixture(params=RENDERERS)
def canvas(request, lasting_page):
    """An empty graph in each renderer."""
    page = lasting_page
    page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", request.param == "nodes 2.0")
    # A graph that is only cleared gives its new nodes the values of those before them that had their number.
    page.evaluate("app.loadGraphData({nodes: [], links: [], groups: [], last_node_id: 0, last_link_id: 0, version: 0.4})")
    page.evaluate("app.canvas.ds.offset = [60, 80]; app.canvas.ds.scale = 1")
    page.mouse.move(5, 5)
    page.complaints.clear()
    yield page
    page.evaluate("app.extensionManager.setting.set('Comfy.VueNodes.Enabled', false)")


def add(page, node_type: str, x: int) -> int:
    """A node that is made by hand; its id."""
    return page.evaluate(
        """([type, x]) => {
            const node = LiteGraph.createNode(type);
            app.graph.add(node);
            node.pos = [x, 100];
            app.canvas.setDirty(true, true);
            return node.id;
        }""",
        [node_type, x],
    )


def connect(page, origin: int, output: int, target: int, name: str) -> None:
    page.evaluate(
        """([origin, output, target, name]) => {
            const node = app.graph.getNodeById(target);
            app.graph.getNodeById(origin).connect(output, node, node.inputs.findIndex(input => input.name === name));
        }""",
        [origin, output, target, name],
    )


def gate_graph(page, audio: str) -> None:
    """Load Audio → Audio Loudness Refocusing → Preview Any, which makes the prompt one that has an output."""
    sound, gate, shown = (
        add(page, kind, x) for kind, x in (("LoadAudio", 0), ("ApoAvatarLoudnessRefocusing", 420), ("PreviewAny", 900))
    )
    choose_audio(page, audio)
    connect(page, sound, 0, gate, "audio")
    connect(page, gate, 2, shown, "source")


def choose_audio(page, name: str) -> None:
    choose_file(page, "LoadAudio", "audio", name)


def choose_file(page, node_type: str, widget: str, name: str) -> None:
    """As the page's own list would, which knows no files that came after it was opened."""
    page.evaluate(
        """([type, widget, name]) => {
            const file = app.graph.nodes.find(node => node.type === type).widgets.find(({name}) => name === widget);
            if (!file.options.values.includes(name)) file.options.values.push(name);
            file.value = name;
            file.callback?.(name);
        }""",
        [node_type, widget, name],
    )


def run(page) -> None:
    page.evaluate(
        """() => new Promise((resolve, reject) => {
            app.api.addEventListener("execution_success", resolve, {once: true});
            app.api.addEventListener("execution_error", event => reject(event.detail.exception_message), {once: true});
            app.queuePrompt(0).then(queued => queued || reject("the page did not queue the workflow"));
        })"""
    )


def set_value(page, node_type: str, name: str, value) -> None:
    page.evaluate(
        "([type, name, value]) => { app.graph.nodes.find(n => n.type === type).widgets.find(w => w.name === name).value = value }",
        [node_type, name, value],
    )


def widget_values(page, node_type: str) -> list:
    return page.evaluate("type => app.graph.serialize().nodes.find(n => n.type === type).widgets_values", node_type)


def test_what_a_node_says_stays_on_it(canvas, hiss, request, comfy_server):
    """After a run, after one whose results are all cached, and on the next visit; until it has nothing to say."""
    page, said = canvas, canvas.locator(".apoavatar-said")
    gate_graph(page, hiss)
    before = widget_values(page, "ApoAvatarLoudnessRefocusing")
    for _ in ("first", "cached"):
        run(page)
        said.wait_for()
        assert said.inner_text() == NOBODY and said.is_visible()
    assert widget_values(page, "ApoAvatarLoudnessRefocusing") == before
    if "classic" in request.node.callspec.id:
        page.reload()
    else:
        page.evaluate("app.loadGraphData(app.graph.serialize())")
    said.wait_for()
    assert said.inner_text() == NOBODY

    choose_audio(page, comfy_server.upload(ASSETS / "speech.wav"))
    run(page)
    said.wait_for(state="detached")
    assert page.complaints == []


def curve(page, name: str) -> str:
    return page.locator(f".apoavatar-gate [data-curve={name}]").get_attribute("points")


def test_the_gate_is_drawn_on_its_node(canvas, comfy_server):
    """Before any run, again as a dial turns, and after a run as the run has it."""
    page = canvas
    audio = comfy_server.upload(ASSETS / "speech.wav")
    gate_graph(page, audio)
    saved = widget_values(page, "ApoAvatarLoudnessRefocusing")
    page.locator(".apoavatar-gate [data-curve=keep]").wait_for()
    words = page.locator(".apoavatar-gate svg").text_content()
    assert all(word in words for word in ("voice", "loudness s̃", "keep weight", "β", "0.5", "1 s", audio))
    loudness, first = curve(page, "normalized"), curve(page, "keep")
    set_value(page, "ApoAvatarLoudnessRefocusing", "beta", 0.2)
    page.wait_for_function(f"first => {KEEP}.getAttribute('points') !== first", arg=first)
    assert curve(page, "normalized") == loudness

    saved[saved.index(0.5)] = 0.2
    assert widget_values(page, "ApoAvatarLoudnessRefocusing") == saved
    answer = json.loads(comfy_server.get("/apoavatar/gate", file=audio, beta="0.2"))
    before = curve(page, "keep")
    assert heights(before) == pytest.approx(as_drawn(answer["keep"], before), abs=0.1)
    for _ in ("first", "cached"):
        run(page)
        page.wait_for_function(f"{GATE}.textContent.includes('last run')")
        assert curve(page, "keep") == before
    set_value(page, "ApoAvatarLoudnessRefocusing", "beta", 0.3)
    page.wait_for_function(f"before => {KEEP}.getAttribute('points') !== before", arg=before)
    assert page.complaints == []


GATE = "document.querySelector('.apoavatar-gate')"
KEEP = f"{GATE}.querySelector('[data-curve=keep]')"


def heights(points: str) -> list[float]:
    return [float(point.split(",")[1]) for point in points.split()]


def as_drawn(values: list[float], points: str) -> list[float]:
    """Values on the scale of a curve: its own lowest and highest point tell the scale."""
    drawn = heights(points)
    scale = (min(drawn) - max(drawn)) / (max(values) - min(values))
    return [max(drawn) + (value - min(values)) * scale for value in values]


def test_the_gate_is_read_at_the_pointer_and_follows_the_player(canvas, comfy_server):
    page = canvas
    audio = comfy_server.upload(ASSETS / "speech.wav")
    gate_graph(page, audio)
    plot = page.locator(".apoavatar-gate")
    plot.locator("[data-curve=keep]").wait_for()
    answer = json.loads(comfy_server.get("/apoavatar/gate", file=audio))
    frame = max(range(answer["frames"]), key=lambda t: answer["normalized"][t])
    points = [float(point.split(",")[0]) for point in curve(page, "keep").split()]
    plot.hover(position={"x": points[frame], "y": 60})
    loudness, keep = answer["normalized"][frame], answer["keep"][frame]
    for words in (f"{frame / 24:.2f} s", f"loudness s̃ {loudness:.2f}", f"keep weight {keep:.2f}"):
        page.wait_for_function(f"words => {GATE}.textContent.includes(words)", arg=words)

    page.evaluate("document.querySelector('audio[src*=\"speech.wav\"], audio').currentTime = 1")
    playhead = plot.locator("[data-mark=player]")
    playhead.wait_for(state="attached")
    seconds = answer["frames"] / 24
    width = (points[-1] - points[0]) * answer["frames"] / (answer["frames"] - 1)
    start = points[0] - width / answer["frames"] / 2
    assert float(playhead.get_attribute("x1")) == pytest.approx(start + width / seconds, abs=1)
    assert page.complaints == []


def test_a_sound_that_is_deleted_under_the_gate_is_told_in_one_sentence(canvas, comfy_server, hiss):
    """From the disk; the node goes on when it is there again."""
    page, file = canvas, comfy_server.log_file.parent / "input" / hiss
    gate_graph(page, hiss)
    page.locator(".apoavatar-gate [data-curve=keep]").wait_for(state="attached")
    kept = file.read_bytes()
    file.unlink()
    set_value(page, "ApoAvatarLoudnessRefocusing", "beta", 0.3)
    page.wait_for_function(
        f"hiss => {GATE}.innerText === `'${{hiss}}' is not in ComfyUI's input folder: choose the audio again.`", arg=hiss
    )
    with pytest.raises(Exception, match="the page did not queue the workflow"):
        run(page)
    file.write_bytes(kept)
    set_value(page, "ApoAvatarLoudnessRefocusing", "beta", 0.4)
    page.locator(".apoavatar-gate [data-curve=keep]").wait_for(state="attached")
    assert page.complaints == []


def test_guider_and_sampler_show_what_guidance_costs(canvas):
    page = canvas
    voice, conditions = add(page, "AudioEncoderEncode", 0), add(page, "ApoAvatarConditioning", 300)
    connect(page, voice, 0, conditions, "audio_features")
    for node_type, x in (("ApoAvatarDecoupledCFGGuider", 600), ("ApoAvatarSampler", 900)):
        connect(page, conditions, 0, add(page, node_type, x), "positive")
        page.wait_for_function(SHOWN, arg=[node_type, "3 evaluations a step"])  # text 2, audio 3, neither image nor pose
        for modality in ("text", "image", "audio", "pose"):
            set_value(page, node_type, f"{modality}_scale", 1)
        page.wait_for_function(SHOWN, arg=[node_type, "1 evaluation a step"])
    portrait = add(page, "LoadImage", 0)
    connect(page, portrait, 0, conditions, "reference_image")
    set_value(page, "ApoAvatarSampler", "image_scale", 2)
    page.wait_for_function(SHOWN, arg=["ApoAvatarSampler", "3 evaluations a step"])
    page.evaluate("app.graph.remove(app.graph.nodes.find(n => n.type === 'ApoAvatarConditioning'))")
    page.wait_for_function(SHOWN, arg=["ApoAvatarSampler", "up to 3 evaluations a step"])
    assert page.complaints == []


SHOWN = """([type, words]) => {
    const node = app.graph.nodes.find(node => node.type === type);
    const badges = node.badges.map(badge => typeof badge === "function" ? badge() : badge).map(badge => badge.text);
    const { element } = node.widgets.find(widget => widget.name === "apoavatar_cost");
    return LiteGraph.vueNodesMode ? element.innerText === words && element.offsetHeight >= 15 : badges.includes(words);
}"""


@pytest.fixture
def moves(comfy_server, tmp_path) -> str:
    """An input file of 12 frames of a pose; its name."""
    points = np.random.default_rng(0).uniform(0.2, 0.8, (130, 3))
    frames = [to_frame(PersonKeypoints.from_points(points + [0.01 * t, 0, 0.2]), 256, 256) for t in range(12)]
    (tmp_path / "moves.json").write_text(json.dumps(frames))
    return comfy_server.upload(tmp_path / "moves.json")


def test_render_pose_plays_the_pose_on_itself(canvas, moves, comfy_server):
    page = canvas
    gate_graph(page, comfy_server.upload(ASSETS / "speech.wav"))
    poses, rendered = add(page, "ApoAvatarLoadOpenPose", 0), add(page, "ApoAvatarRenderPose", 860)
    connect(page, poses, 0, rendered, "pose")
    connect(page, page.evaluate("app.graph.nodes.find(n => n.type === 'ApoAvatarLoudnessRefocusing').id"), 0, rendered, "gate")
    choose_file(page, "ApoAvatarLoadOpenPose", "file", moves)
    run(page)
    page.wait_for_function(f"{PLAYER}?.readyState > 0")
    assert page.evaluate(f"[{PLAYER}.controls, {PLAYER}.duration]") == [True, pytest.approx(12 / 24, abs=0.01)]
    page.evaluate(f"{PLAYER}.currentTime = 0.25")
    page.wait_for_function(f"{PLAYER}.currentTime === 0.25 && !{PLAYER}.seeking")
    assert page.complaints == []


PLAYER = "[...document.querySelectorAll('video')].find(video => video.currentSrc.includes('apoavatar_player'))"
