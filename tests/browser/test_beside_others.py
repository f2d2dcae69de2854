"""The pack in a page that is not its own: graphs that other programs made."""
import io
import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EMPTY = "app.loadGraphData({nodes: [], links: [], groups: [], last_node_id: 0, last_link_id: 0, version: 0.4})"
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
