"""The pack in ComfyUI's real page: its workflows load whole, run from the page, and are found together with their help."""
import io
import json
from pathlib import Path
from urllib.parse import quote

import av
import pytest

from devtools import workflow
from devtools.environment import PACK_LINK_NAME

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))

ERRORS = "error-overlay"
"""What the page shows when something is missing, or wrong."""

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def open_workflow(page, name: str) -> dict:
    """Loads a workflow of this pack into the page; returns it as it is in the file."""
    saved = workflow.load(WORKFLOWS / f"{name}.json")
    page.complaints.clear()
    page.evaluate("saved => app.loadGraphData(saved)", saved)
    page.wait_for_function("count => app.graph.nodes.length === count", arg=len(saved["nodes"]))
    return saved


def lacks_models(name: str) -> bool:
    """Whether a workflow's models are missing, which the page says."""
    return name.startswith("ApoAvatar Wan")


@pytest.fixture(scope="module", params=sorted(NAMES, key=lacks_models))
def opened(request, lasting_page):
    """Each workflow: the page with it, what is in the file, and its name. Those come last of which the page says something."""
    return lasting_page, open_workflow(lasting_page, request.param), request.param


def test_every_node_and_link_of_a_workflow_arrives(opened):
    page, saved, name = opened
    unknown = page.evaluate("app.graph.nodes.filter(n => !(n.type in LiteGraph.registered_node_types)).map(n => n.type)")
    assert unknown == []
    assert page.get_by_text("missing node", exact=False).count() == 0
    if not lacks_models(name):
        assert page.get_by_test_id(ERRORS).count() == 0
    loaded = page.evaluate("app.graph.serialize()")
    assert links_of(loaded) == links_of(saved)
    assert {node["id"]: node["type"] for node in loaded["nodes"]} == {node["id"]: node["type"] for node in saved["nodes"]}
    assert page.complaints == []


def links_of(saved: dict) -> set[tuple]:
    """(from node, output, to node, input name, type): what a link joins, whatever its id."""
    nodes = {node["id"]: node for node in saved["nodes"]}
    return {
        (origin, slot, target, nodes[target]["inputs"][place]["name"], kind)
        for _, origin, slot, target, place, kind in saved["links"]
    }


def test_the_page_and_the_converter_make_the_same_prompt(opened, object_info):
    page, saved, _ = opened
    converted = workflow.to_prompt(saved, object_info)
    from_page = page.evaluate("async () => (await app.graphToPrompt()).output")
    assert what_runs(from_page) == what_runs(converted)


def what_runs(prompt: dict) -> dict:
    """Class and inputs of each node. The page also sends its video player, which is an input of no node."""
    return {
        node_id: (node["class_type"], {name: value for name, value in node["inputs"].items() if name != "video-preview"})
        for node_id, node in prompt.items()
    }


def test_a_workflow_runs_from_the_page(page, comfy_server):
    open_workflow(page, "ApoAvatar talking avatar from text - tiny model")
    set_widget(page, "ApoAvatarConditioning", "length", 5)
    set_widget(page, "ApoAvatarSampler", "steps", 1)
    prompt_id = page.evaluate(
        """() => new Promise((resolve, reject) => {
            app.api.addEventListener("execution_success", event => resolve(event.detail.prompt_id));
            app.api.addEventListener("execution_error", event => reject(event.detail.exception_message));
            app.queuePrompt(0).then(queued => queued || reject("the page did not queue the workflow"));
        })"""
    )
    (file,) = comfy_server.output_files(comfy_server.wait(prompt_id))
    with av.open(io.BytesIO(comfy_server.fetch(file))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
    page.wait_for_function("name => JSON.stringify(app.nodeOutputs).includes(name)", arg=file["filename"])
    assert page.complaints == []


def set_widget(page, node_type: str, name: str, value) -> None:
    page.evaluate(
        "([type, name, value]) => app.graph.nodes.find(n => n.type === type).widgets.find(w => w.name === name).value = value",
        [node_type, name, value],
    )


def test_what_a_choice_needs_appears_with_it(lasting_page):
    """On a node that is made by hand."""
    page = lasting_page
    page.complaints.clear()
    shown = page.evaluate(
        """() => {
            const node = LiteGraph.createNode("ApoAvatarConditioning");
            app.graph.add(node);
            const after = (name, value) => {
                node.widgets.find(w => w.name === name).value = value;
                return node.inputs.map(input => input.name).filter(input => input.startsWith(name + "."));
            };
            return [
                ...["hard", "refocused", "pose_free"].map(mode => after("pose_mode", mode)),
                ...["previous_frames", "nothing"].map(start => after("continue_from", start)),
            ];
        }"""
    )
    pose, gate, reference = (f"pose_mode.{name}" for name in ("pose", "gate", "reference_pose"))
    dial = [f"pose_mode.{name}" for name in ("pose_strength", "pose_start_percent", "pose_end_percent", "pose_fps")]
    continued = [f"continue_from.{name}" for name in ("previous_frames", "motion_frames")]
    assert [sorted(names) for names in shown] == [
        sorted([pose, reference, *dial]), sorted([gate, pose, reference, *dial]), [], sorted(continued), [],
    ]  # fmt: skip
    assert page.complaints == []


def test_the_template_browser_lists_the_workflows(comfy_server):
    assert sorted(json.loads(comfy_server.get("/api/workflow_templates"))[PACK_LINK_NAME]) == NAMES
    for name in map(quote, NAMES):
        folder = f"/api/workflow_templates/{PACK_LINK_NAME}"
        assert json.loads(comfy_server.get(f"{folder}/{name}.json"))["version"] == 0.4
        assert comfy_server.get(f"{folder}/{name}.jpg").startswith(b"\xff\xd8")


def test_every_node_of_the_pack_has_a_help_page(comfy_server, object_info):
    nodes = [name for name in object_info if name.startswith("ApoAvatar")]
    assert len(nodes) == 15
    for name in nodes:
        assert comfy_server.get(f"/extensions/{PACK_LINK_NAME}/docs/{name}.md").startswith(b"# ")
        assert comfy_server.get(f"/extensions/{PACK_LINK_NAME}/docs/{name}.jpg").startswith(b"\xff\xd8")
