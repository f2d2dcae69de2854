"""The pack in a page that is not its own: graphs that other programs made, several tabs, and a server that comes back."""
import io
import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from devtools import server
from devtools.environment import Layout
from tests.browser.test_on_the_nodes import ASSETS, NOBODY, choose_audio, curve, gate_graph, run, set_value

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EMPTY = "app.loadGraphData({nodes: [], links: [], groups: [], last_node_id: 0, last_link_id: 0, version: 0.4})"
GATE = ".apoavatar-gate [data-curve=keep]"
OURS = "document.querySelectorAll('[class*=apoavatar]').length"


def as_json(template: dict) -> tuple[str, str, bytes]:
    return "graph.json", "application/json", json.dumps(template).encode()


def as_picture(template: dict) -> tuple[str, str, bytes]:
    """As Save Image keeps it."""
    told, file = PngInfo(), io.BytesIO()
    told.add_text("workflow", json.dumps(template))
    Image.new("RGB", (8, 8)).save(file, "png", pnginfo=told)
    return "picture.png", "image/png", file.getvalue()


@pytest.mark.parametrize(("name", "kept"), [("default", as_picture), ("text_to_video_wan", as_json)])
def test_a_graph_of_another_program_is_as_it_was(lasting_page, comfy_server, drop, name, kept):
    """ComfyUI's own templates, dropped on the canvas."""
    page, template = lasting_page, json.loads(comfy_server.get(f"/templates/{name}.json"))
    page.evaluate(EMPTY)
    page.complaints.clear()
    drop(page, *kept(template))
    page.wait_for_function("count => app.graph.nodes.length === count", arg=len(template["nodes"]))
    arrived = page.evaluate("app.graph.serialize()")["nodes"]
    found = {node["id"]: node for node in arrived}
    for node in template["nodes"]:
        assert found[node["id"]]["type"] == node["type"]
        values = node.get("widgets_values") or []  # in front of those that a template from before did not have
        assert (found[node["id"]].get("widgets_values") or [])[: len(values)] == values
    assert page.evaluate(OURS) == 0
    assert page.complaints == []


def test_what_a_node_says_is_said_in_the_tab_that_asked(lasting_page, comfy_server, hiss):
    """Of three with the same graph."""
    tabs = [lasting_page, *(lasting_page.context.new_page() for _ in range(2))]
    for tab in tabs[1:]:
        tab.complaints = []
        tab.on("pageerror", lambda error, tab=tab: tab.complaints.append(str(error)))
        tab.goto(comfy_server.url)
        tab.wait_for_function("window.app?.graph?.nodes.length > 0")
    for tab in tabs:
        tab.bring_to_front()  # the browser draws nothing in the others
        tab.evaluate(EMPTY)
        gate_graph(tab, hiss)
        tab.locator(GATE).wait_for(state="attached")
    tabs[1].bring_to_front()
    run(tabs[1])
    tabs[1].locator(".apoavatar-said").wait_for()
    assert tabs[1].locator(".apoavatar-said").inner_text() == NOBODY
    tabs[2].bring_to_front()
    choose_audio(tabs[2], comfy_server.upload(ASSETS / "speech.wav"))
    run(tabs[2])
    assert [tab.locator(".apoavatar-said").count() for tab in tabs] == [0, 1, 0]
    assert [tab.complaints for tab in tabs] == [[], [], []]
    for tab in tabs[1:]:
        tab.close()


def test_an_open_tab_goes_on_with_a_server_that_was_started_again(visit, comfyui_folder, tmp_path):
    layout = Layout(ASSETS.parents[1])
    with server.running_server(layout) as running, visit(running) as page:
        page.evaluate(EMPTY)
        gate_graph(page, running.upload(ASSETS / "speech.wav"))
        page.locator(GATE).wait_for()
        before, first = curve(page, "keep"), running.process
        page.evaluate("app.api.addEventListener('reconnected', () => { window.isBack = true; }, {once: true})")
        server.stop(first)
        set_value(page, "ApoAvatarLoudnessRefocusing", "beta", 0.3)
        with open(tmp_path / "again.log", "wb") as log:
            running.process = server.start(first.args, log, server.comfyui_variables(layout))
        try:
            running.wait_until_ready()
            page.wait_for_function("window.isBack")
            set_value(page, "ApoAvatarLoudnessRefocusing", "beta", 0.2)
            page.wait_for_function(
                f"before => ![null, before].includes(document.querySelector('{GATE}')?.getAttribute('points'))", arg=before
            )
            run(page)
            page.wait_for_function("document.querySelector('.apoavatar-gate').textContent.includes('last run')")
            assert not [complaint for complaint in page.complaints if "apoavatar" in complaint.lower()]
        finally:
            server.stop(running.process)
