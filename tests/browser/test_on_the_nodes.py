"""What the nodes show on themselves, in the classic renderer and in Nodes 2.0 (`js/`)."""
import json
import wave
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RENDERERS = ["classic", "nodes 2.0"]
NOBODY = "Nobody speaks or sings in this audio: the body rests."
ASSETS = Path(__file__).resolve().parents[2] / "workflows" / "assets"


@pytest.fixture
def hiss(comfy_server, tmp_path) -> str:
    """An input file in which nobody speaks; its name."""
    noise = np.random.default_rng(0).normal(0, 3000, 16_000).astype("<i2")
    with wave.open(str(tmp_path / "hiss.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(noise.tobytes())
    return comfy_server.upload(tmp_path / "hiss.wav")


@pytest.fixture(params=RENDERERS)
def canvas(request, page):
    """An empty page in each renderer."""
    page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", request.param == "nodes 2.0")
    page.evaluate("app.graph.clear()")
    yield page
    page.evaluate("app.extensionManager.setting.set('Comfy.VueNodes.Enabled', false)")


def gate_graph(page, audio: str) -> None:
    """Load Audio → Audio Loudness Refocusing → Preview Any, which makes the prompt one that has an output."""
    page.evaluate(
        """audio => {
            const add = (type, x) => {
                const node = LiteGraph.createNode(type);
                app.graph.add(node);
                node.pos = [x, 100];
                return node;
            };
            const [sound, gate, shown] = [["LoadAudio", 0], ["ApoAvatarLoudnessRefocusing", 420], ["PreviewAny", 900]].map(
                ([type, x]) => add(type, x));
            const file = sound.widgets.find(widget => widget.name === "audio");
            if (!file.options.values.includes(audio)) file.options.values.push(audio);
            file.value = audio;
            sound.connect(0, gate, gate.inputs.findIndex(input => input.name === "audio"));
            gate.connect(gate.outputs.findIndex(output => output.name === "keep_weights"), shown, 0);
            app.canvas.ds.offset = [60, 80];
            app.canvas.setDirty(true, true);
        }""",
        audio,
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


def test_what_a_node_says_stays_on_it(canvas, hiss, comfy_server):
    """After a run, after one whose results are all cached, and on the next visit; until it has nothing to say."""
    page, said = canvas, canvas.locator(".apoavatar-said")
    gate_graph(page, hiss)
    before = widget_values(page, "ApoAvatarLoudnessRefocusing")
    for _ in ("first", "cached"):
        run(page)
        said.wait_for()
        assert said.inner_text() == NOBODY and said.is_visible()
    assert widget_values(page, "ApoAvatarLoudnessRefocusing") == before
    page.reload()
    said.wait_for()
    assert said.inner_text() == NOBODY

    set_value(page, "LoadAudio", "audio", comfy_server.upload(ASSETS / "speech.wav"))
    run(page)
    said.wait_for(state="detached")
    assert page.complaints == []


def curve(page, name: str) -> str:
    return page.locator(f".apoavatar-gate [data-curve={name}]").get_attribute("points")


def test_the_gate_is_drawn_on_its_node(canvas, comfy_server):
    """Before any run, again as a dial turns, and after a run as the run has it; with words where there is room for them."""
    page = canvas
    audio = comfy_server.upload(ASSETS / "speech.wav")
    gate_graph(page, audio)
    saved = widget_values(page, "ApoAvatarLoudnessRefocusing")
    page.locator(".apoavatar-gate [data-curve=keep]").wait_for(state="attached")
    words = page.locator(".apoavatar-gate svg").text_content()
    assert all(word in words for word in ("voice", "loudness s̃", "keep weight", "β", "0.5", "1 s", f"gate of {audio}"))
    loudness, first = curve(page, "normalized"), curve(page, "keep")
    set_value(page, "ApoAvatarLoudnessRefocusing", "beta", 0.2)
    page.wait_for_function(f"first => ({KEEP}).getAttribute('points') !== first", arg=first)
    assert curve(page, "normalized") == loudness

    saved[saved.index(0.5)] = 0.2
    assert widget_values(page, "ApoAvatarLoudnessRefocusing") == saved
    answer = json.loads(comfy_server.get("/apoavatar/gate", file=audio, beta="0.2"))
    assert heights(curve(page, "keep")) == pytest.approx(as_drawn(answer["keep"], curve(page, "keep")), abs=0.1)
    before = curve(page, "keep")
    run(page)
    page.get_by_text("gate of the last run").first.wait_for(state="attached")
    assert curve(page, "keep") == before
    set_value(page, "LoadAudio", "audio", "gone.wav")
    page.get_by_text("'gone.wav' is not in ComfyUI's input folder").first.wait_for(state="attached")
    assert page.complaints == []


KEEP = "document.querySelector('.apoavatar-gate [data-curve=keep]')"


def heights(points: str) -> list[float]:
    return [float(point.split(",")[1]) for point in points.split()]


def as_drawn(values: list[float], points: str) -> list[float]:
    """Values on the scale of a curve: its own lowest and highest point tell the scale."""
    drawn = heights(points)
    scale = (min(drawn) - max(drawn)) / (max(values) - min(values))
    return [max(drawn) + (value - min(values)) * scale for value in values]


def test_guider_and_sampler_show_what_guidance_costs(canvas):
    page = canvas
    page.evaluate(
        """() => {
            const add = (type, x) => {
                const node = LiteGraph.createNode(type);
                app.graph.add(node);
                node.pos = [x, 100];
                return node;
            };
            const place = (node, name) => node.inputs.findIndex(input => input.name === name);
            const voice = add("AudioEncoderEncode", 0);
            const conditions = add("ApoAvatarConditioning", 300);
            voice.connect(0, conditions, place(conditions, "audio_features"));
            for (const node of [add("ApoAvatarDecoupledCFGGuider", 800), add("ApoAvatarSampler", 1200)])
                conditions.connect(0, node, place(node, "positive"));
        }"""
    )
    for node_type in ("ApoAvatarDecoupledCFGGuider", "ApoAvatarSampler"):
        page.wait_for_function(SHOWN, arg=[node_type, "3 evaluations a step"])  # text 2, audio 3, neither image nor pose
        for modality in ("text", "image", "audio", "pose"):
            set_value(page, node_type, f"{modality}_scale", 1)
        page.wait_for_function(SHOWN, arg=[node_type, "1 evaluation a step"])
    page.evaluate("app.graph.remove(app.graph.nodes.find(n => n.type === 'ApoAvatarConditioning'))")
    page.wait_for_function(SHOWN, arg=["ApoAvatarSampler", "up to 1 evaluation a step"])
    assert page.complaints == []


SHOWN = """([type, words]) => {
    const node = app.graph.nodes.find(node => node.type === type);
    const badges = node.badges.map(badge => typeof badge === "function" ? badge() : badge).map(badge => badge.text);
    const { element } = node.widgets.find(widget => widget.name === "apoavatar_cost");
    return LiteGraph.vueNodesMode ? element.innerText === words && element.offsetHeight >= 15 : badges.includes(words);
}"""
