"""What a newcomer does first in ComfyUI's real page: look for the pack, open its app, add its node, drop a film."""
import io
import json
from pathlib import Path

import av
import pytest

from devtools import workflow
from devtools.environment import PACK_LINK_NAME
from tests.browser.test_on_the_nodes import ASSETS, choose_file, set_value

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT = "ApoAvatar talking avatar from a portrait - tiny model"
BLUEPRINT = "Talking portrait"

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def saved(name: str) -> dict:
    return workflow.load(ROOT / "workflows" / f"{name}.json")


def test_the_template_browser_finds_the_pack_by_what_it_makes(page):
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_placeholder("Search", exact=False).last.fill("talking avatar")
    page.get_by_test_id(f"template-workflow-{PORTRAIT}").wait_for()


def test_the_template_browser_calls_the_pack_by_its_name(page):
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text("ApoAvatar", exact=True).first.click()
    page.get_by_test_id(f"template-workflow-{PORTRAIT}").wait_for()
    assert page.get_by_text(PACK_LINK_NAME, exact=True).count() == 0


def test_the_app_asks_for_a_portrait_a_voice_a_text_and_a_strength(page):
    page.evaluate("saved => app.loadGraphData(saved, true, true, 'app')", saved(f"{PORTRAIT}.app"))
    items = page.get_by_test_id("app-mode-widget-item")
    items.nth(3).wait_for()
    assert [text.splitlines()[0] for text in items.all_inner_texts()] == [
        "portrait", "voice", "what the picture shows", "strength of the voice",
    ]  # fmt: skip
    assert page.get_by_test_id("linear-run-button").is_visible()
    assert page.get_by_test_id("error-overlay").count() == 0


def test_run_in_the_app_makes_a_film_of_what_was_chosen(page, comfy_server):
    page.evaluate("saved => app.loadGraphData(saved, true, true, 'app')", saved(f"{PORTRAIT}.app"))
    choose_file(page, "LoadImage", "image", comfy_server.upload(ASSETS / "presenter.png"))
    choose_file(page, "LoadAudio", "audio", comfy_server.upload(ASSETS / "speech.wav"))
    for name, value in {"width": 32, "height": 32, "length": 5}.items():
        set_value(page, "ApoAvatarConditioning", name, value)
    set_value(page, "ApoAvatarSampler", "steps", 1)
    page.evaluate("() => { app.api.addEventListener('execution_success', event => { window.ran = event.detail.prompt_id }) }")
    page.get_by_test_id("linear-run-button").get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function("window.ran")
    (file,) = comfy_server.output_files(comfy_server.wait(page.evaluate("window.ran")))
    with av.open(io.BytesIO(comfy_server.fetch(file))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
    page.wait_for_function(
        "name => [...document.querySelectorAll('video')].some(({currentSrc}) => currentSrc.includes(name))", arg=file["filename"]
    )
    assert page.complaints == []


def test_the_blueprint_is_found_in_the_node_search_and_stands_for_its_graph(page):
    page.evaluate("app.graph.clear()")
    page.evaluate("app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
    page.get_by_placeholder("Add a node").fill(BLUEPRINT)
    page.get_by_role("option", name=BLUEPRINT).first.wait_for()
    page.keyboard.press("Enter")
    page.wait_for_function("app.graph.nodes.length === 1")
    page.mouse.click(900, 500)
    (inputs, widgets) = page.evaluate("[app.graph.nodes[0].inputs.map(i => i.name), app.graph.nodes[0].widgets.map(w => w.name)]")
    assert inputs == ["portrait", "voice", "text", "audio_scale", "seed"] and widgets == inputs[2:]
    made = page.evaluate("async () => (await app.graphToPrompt()).output").values()
    inside = {node["class_type"] for node in made}
    assert inside == {node["type"] for node in saved(PORTRAIT)["nodes"]} - {"ApoAvatarExample", "SaveVideo", "MarkdownNote"}
    assert next(node for node in made if node["class_type"] == "ApoAvatarSampler")["inputs"]["audio_scale"] == 2


def test_a_film_dropped_on_the_canvas_gives_its_graph_back(page, comfy_server, drop):
    """A film without sampling, which is kept as `dev.py demo` has its films kept."""
    graph = saved(PORTRAIT)
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 5, "color": 0}},
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 24.0}},
        "3": {"class_type": "SaveVideo", "inputs": {
            "video": ["2", 0], "filename_prefix": "film", "format": "mp4", "codec": "h264", "codec.encoding": "re-encode",
            "codec.encoding.crf": 20,
        }},
    }  # fmt: skip
    (file,) = comfy_server.output_files(comfy_server.wait(comfy_server.submit(prompt, workflow=graph)))
    page.evaluate("app.graph.clear()")
    drop(page, "film.mp4", "video/mp4", comfy_server.fetch(file))
    page.wait_for_function("count => app.graph.nodes.length === count", arg=len(graph["nodes"]))
    arrived = page.evaluate("app.graph.serialize()")
    assert sorted((node["id"], node["type"], *node["pos"]) for node in arrived["nodes"]) == sorted(
        (node["id"], node["type"], *node["pos"]) for node in graph["nodes"]
    )
    assert [group["title"] for group in arrived["groups"]] == [group["title"] for group in graph["groups"]]
    assert json.dumps(graph["nodes"][0]["widgets_values"]) in json.dumps(arrived)
