"""The workflows as they open at 1920×1080, in both of the page's renderers: readable, and nothing lies on anything else, before a
run, while it shows what it is at, and after it.
"""
from pathlib import Path

import pytest

from devtools import browser, workflow

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json") if not path.stem.endswith(".app"))
"""An app opens as a form, not as a graph."""
RENDERERS = {"classic": False, "Nodes 2.0": True}
SHOWN_LIVE = ("ApoAvatarSampler", "KSampler", "ApoAvatarLongVideo")
"""Nodes in which a picture appears while they sample."""
PORTRAIT, FILM = "presenter.png", "gestures.mp4"
FRAMES = 49

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module", params=RENDERERS)
def screen(request, chromium, comfy_server):
    for name in (PORTRAIT, FILM):
        comfy_server.upload(WORKFLOWS / "assets" / name)
    settings = {"Comfy.VueNodes.Enabled": RENDERERS[request.param]}
    with browser.page_of(comfy_server, chromium, (1920, 1080), settings) as page:
        yield page
        page.request.post(f"{comfy_server.url}/settings", data={"Comfy.VueNodes.Enabled": False})  # the server keeps it


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_is_readable_and_nothing_lies_on_anything(screen, name):
    saved = workflow.load(WORKFLOWS / f"{name}.json")
    screen.evaluate("saved => app.loadGraphData(saved, true, true, null, {openSource: 'template'})", saved)
    settle(screen)
    scale, smallest = screen.evaluate("[app.canvas.ds.scale, app.canvas.min_font_size_for_lod / LiteGraph.NODE_TEXT_SIZE]")
    assert scale >= smallest, "from further away the page leaves text out"
    hidden = screen.evaluate(
        "[...document.querySelectorAll('.comfy-markdown, .comfy-markdown-content')].map(e => e.scrollHeight - e.clientHeight)"
    )
    assert hidden and max(hidden) <= 4, "the whole note is seen"
    check(screen, "opened")

    screen.evaluate(LIVE, [SHOWN_LIVE, f"/view?filename={PORTRAIT}&type=input"])
    settle(screen)
    check(screen, "while it runs")
    screen.evaluate(FINISHED, [PORTRAIT, FILM, FRAMES])
    settle(screen)
    check(screen, "after the run")


def settle(page) -> None:
    """Waits until no node grows any more."""
    page.evaluate(
        """async () => {
            const sizes = () => JSON.stringify(app.graph.nodes.map(n => [...n.pos, ...n.size]));
            const still = {since: performance.now(), at: null};
            while (performance.now() - still.since < 400) {
                await new Promise(resolve => setTimeout(resolve, 100));
                if (sizes() !== still.at) Object.assign(still, {since: performance.now(), at: sizes()});
            }
        }"""
    )


LIVE = """async ([types, address]) => {
    const blob = await (await app.api.fetchApi(address)).blob();
    for (const {id, type} of app.graph.nodes)
        if (types.includes(type)) {
            const nodeId = String(id);
            app.api.dispatchCustomEvent("b_preview_with_metadata",
                {blob, nodeId, displayNodeId: nodeId, parentNodeId: nodeId, realNodeId: nodeId, jobId: "a job"});
        }
}"""
"""What the page does when a sampler's preview arrives."""
FINISHED = """([picture, film, frames]) => {
    const file = filename => ({filename, subfolder: "", type: "input"});
    for (const {id, type, title, inputs} of app.graph.nodes) {
        let output = null;
        if (type === "PreviewImage") output = {images: Array(title === "What the body will do" ? frames : 1).fill(file(picture))};
        const plays = type === "ApoAvatarRenderPose" && inputs.some(({name, link}) => name === "gate" && link != null);
        if (plays || type === "SaveVideo") output = {images: [file(film)], animated: [true]};
        if (output) app.api.dispatchCustomEvent("executed", {node: String(id), display_node: String(id), output, prompt_id: "a job"});
    }
}"""
"""What the page does when the nodes that show something have run."""
BOXES = """() => {
    const bar = LiteGraph.NODE_TITLE_HEIGHT;
    const box = ({pos: [x, y], size: [width, height], flags}) =>
        flags.collapsed ? [x, y - bar, x + Math.min(width, 300), y] : [x, y - bar, x + width, y + height];
    return [
        app.graph.nodes.map(node => [node.title, box(node)]),
        app.graph.groups.map(({title, pos: [x, y], size: [width, height]}) => [title, [x, y, x + width, y + height]]),
    ];
}"""


def check(page, when: str) -> None:
    nodes, groups = page.evaluate(BOXES)
    for place, (title, box) in enumerate(nodes):
        assert not [other for other, place_of in nodes[place + 1 :] if meet(box, place_of)], (when, title)
        assert not [group for group, area in groups if meet(area, box) and not holds(area, box)], (when, title)
    for place, (title, area) in enumerate(groups):
        assert not [other for other, place_of in groups[place + 1 :] if meet(area, place_of)], title


def meet(one: list, other: list) -> bool:
    return all(max(one[axis], other[axis]) < min(one[axis + 2], other[axis + 2]) for axis in (0, 1))


def holds(outer: list, inner: list) -> bool:
    return all(outer[axis] <= inner[axis] and inner[axis + 2] <= outer[axis + 2] for axis in (0, 1))
