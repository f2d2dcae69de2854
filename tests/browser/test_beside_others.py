"""The pack in a page that is not its own: other programs' graphs, and a server that comes back."""
import base64
import io
import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from devtools import server
from devtools.environment import Layout
from tests.browser.test_on_the_nodes import ASSETS, curve, gate_graph, run, set_value

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EMPTY = "app.loadGraphData({nodes: [], links: [], groups: [], last_node_id: 0, last_link_id: 0, version: 0.4})"
OURS = "document.querySelectorAll('[class*=apoavatar]').length"
GATE = ".apoavatar-gate [data-curve=keep]"
DROP = """([name, type, data]) => {
    const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, { type }));
    app.canvas.canvas.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}"""


def as_json(template: dict) -> tuple[str, str, bytes]:
    return "graph.json", "application/json", json.dumps(template).encode()


def as_picture(template: dict) -> tuple[str, str, bytes]:
    """As Save Image keeps it."""
    told, file = PngInfo(), io.BytesIO()
    told.add_text("workflow", json.dumps(template))
    Image.new("RGB", (8, 8)).save(file, "png", pnginfo=told)
    return "picture.png", "image/png", file.getvalue()


@pytest.mark.parametrize(("name", "kept"), [("default", as_picture), ("text_to_video_wan", as_json)])
def test_a_graph_of_another_program_is_as_it_was(lasting_page, comfy_server, name, kept):
    """ComfyUI's own templates, dropped on the canvas."""
    page, template = lasting_page, json.loads(comfy_server.get(f"/templates/{name}.json"))
    page.evaluate(EMPTY)
    page.complaints.clear()
    file, kind, data = kept(template)
    page.evaluate(DROP, [file, kind, base64.b64encode(data).decode()])
    page.wait_for_function("count => app.graph.nodes.length === count", arg=len(template["nodes"]))
    arrived = page.evaluate("app.graph.serialize()")["nodes"]
    found = {node["id"]: node for node in arrived}
    for node in template["nodes"]:
        assert found[node["id"]]["type"] == node["type"]
        values = node.get("widgets_values") or []  # in front of those that a template from before did not have
        assert (found[node["id"]].get("widgets_values") or [])[: len(values)] == values
    assert page.evaluate(OURS) == 0
    assert page.complaints == []


def test_an_open_tab_goes_on_with_a_server_that_was_started_again(visit, comfyui_folder, tmp_path):
    layout = Layout(ASSETS.parents[1])
    with server.running_server(layout) as running, visit(running) as page:
        page.evaluate(EMPTY)
        gate_graph(page, running.upload(ASSETS / "speech.wav"))
        page.locator(GATE).wait_for()
        before, first = curve(page, "keep"), running.process
        server.stop(first)
        set_value(page, "ApoAvatarLoudnessRefocusing", "beta", 0.3)
        with open(tmp_path / "again.log", "wb") as log:
            running.process = server.start(first.args, log, server.comfyui_variables(layout))
        try:
            running.wait_until_ready()
            set_value(page, "ApoAvatarLoudnessRefocusing", "beta", 0.2)
            page.wait_for_function(
                "before => ![null, before].includes(document.querySelector('.apoavatar-gate [data-curve=keep]')?.getAttribute('points'))",
                arg=before,
            )
            run(page)
            page.wait_for_function("document.querySelector('.apoavatar-gate').textContent.includes('last run')")
            assert not [complaint for complaint in page.complaints if "apoavatar" in complaint.lower()]
        finally:
            server.stop(running.process)
