"""Write what is made of the portrait workflow: `python workflows/make_variants.py`, after it has changed.

Its app, where portrait, voice, text and one strength are all there is to see, and its blueprint, which is one node in ComfyUI's
node search.
"""

from __future__ import annotations

import copy
import json
import uuid
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
PORTRAIT = FOLDER / "ApoAvatar talking avatar from a portrait - tiny model.json"
APP = PORTRAIT.with_suffix(".app.json")
BLUEPRINT = FOLDER.parent / "subgraphs" / "Talking portrait.json"

EXAMPLE, PROMPT, SAMPLER = "ApoAvatarExample", "CLIPTextEncode", "ApoAvatarSampler"
CREATE, SAVE = "CreateVideo", "SaveVideo"
LABELS = {"text": "what the picture shows", "audio_scale": "strength of the voice", "seed": "seed"}
"""What a user may change of the nodes PROMPT and SAMPLER, by the widget's name."""
DESCRIPTION = "A portrait and a voice become a film that speaks and gestures: ApoAvatar's small model, a cartoon at 128 x 128."
BLUEPRINT_SIZE, IO_WIDTH = (400, 260), 160
INPUT_NODE, OUTPUT_NODE = -10, -20
"""The ids of a subgraph's two ends, as the page has them."""


def main() -> None:
    saved = json.loads(PORTRAIT.read_text(encoding="utf-8"))
    for path, made in ((APP, app_of(saved)), (BLUEPRINT, blueprint_of(saved))):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def named(saved: dict, what: str) -> str:
    """An id for what is made of a workflow: the same each time."""
    return str(uuid.uuid5(uuid.UUID(saved["id"]), what))


def the_node(saved: dict, node_type: str) -> dict:
    """The first node of a type."""
    return next(node for node in saved["nodes"] if node["type"] == node_type)


def app_of(saved: dict) -> dict:
    """The workflow with loaders that wait for a portrait and a voice in the place of the example, and what of it an app shows."""
    app = copy.deepcopy(saved)
    example, save = the_node(app, EXAMPLE), the_node(app, SAVE)
    x, y = example["pos"]
    width = example["size"][0]
    portrait = loader("LoadImage", "image", "portrait", example["outputs"][0], example["id"], [x, y], [width, 240])
    voice = loader("LoadAudio", "audio", "voice", example["outputs"][1], app["last_node_id"] + 1, [x, y + 284], [width, 136])
    place = app["nodes"].index(example)
    app["nodes"][place : place + 1] = [portrait, voice]
    for link in app["links"]:
        if link[1:3] == [example["id"], 1]:
            link[1:3] = [voice["id"], 0]
    shown = [(portrait, "image"), (voice, "audio"), (the_node(app, PROMPT), "text"), (the_node(app, SAMPLER), "audio_scale")]
    for node, widget in shown[2:]:
        socket_of(node, widget)["label"] = LABELS[widget]
    linear = {"inputs": [[str(node["id"]), widget] for node, widget in shown], "outputs": [str(save["id"])]}
    return app | {
        "id": named(saved, "app"),
        "last_node_id": voice["id"],
        "extra": app["extra"] | {"linearMode": True, "linearData": linear},
    }


def loader(node_type: str, widget: str, label: str, output: dict, node_id: int, pos: list, size: list) -> dict:
    """A loader for which no file is chosen yet, in the place of one of the example's outputs."""
    return {
        "id": node_id, "type": node_type, "pos": pos, "size": size, "flags": {}, "order": 0, "mode": 0,
        "inputs": [{"name": widget, "label": label, "type": "COMBO", "widget": {"name": widget}, "link": None}],
        "outputs": [{"name": output["type"], "type": output["type"], "links": output["links"]}],
        "title": label.capitalize(),
        "properties": {"cnr_id": "comfy-core", "Node name for S&R": node_type}, "widgets_values": [""],
    }  # fmt: skip


def socket_of(node: dict, name: str) -> dict:
    return next(socket for socket in node["inputs"] if socket["name"] == name)


def blueprint_of(saved: dict) -> dict:
    """The workflow between example and film as one node: portrait and voice go in, a VIDEO comes out."""
    graph = copy.deepcopy(saved)
    example, create = the_node(graph, EXAMPLE), the_node(graph, CREATE)
    outside = {node["id"] for node in graph["nodes"] if node["type"] in (EXAMPLE, SAVE, "MarkdownNote")}
    inside = [node for node in graph["nodes"] if node["id"] not in outside]
    columns = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    links = [dict(zip(columns, link)) for link in graph["links"] if link[3] not in outside]
    given = [("portrait", "IMAGE"), ("voice", "AUDIO")]
    for link in links:
        if link["origin_id"] == example["id"]:
            link["origin_id"] = INPUT_NODE
    last = graph["last_link_id"]
    dials = [(the_node(graph, PROMPT), "text"), (the_node(graph, SAMPLER), "audio_scale"), (the_node(graph, SAMPLER), "seed")]
    for slot, (node, widget) in enumerate(dials, len(given)):
        socket = socket_of(node, widget)
        last += 1
        socket["link"] = last
        links.append(dict(zip(columns, (last, INPUT_NODE, slot, node["id"], node["inputs"].index(socket), socket["type"]))))
        given.append((widget, socket["type"]))
    last += 1
    links.append(dict(zip(columns, (last, create["id"], 0, OUTPUT_NODE, 0, "VIDEO"))))
    create["outputs"][0]["links"] = [last]
    name = named(saved, "blueprint")
    return {
        "id": named(saved, "blueprint's graph"), "revision": 0, "last_node_id": 1, "last_link_id": 0,
        "nodes": [outer_node(name, given, [value_of(*dial) for dial in dials])],
        "links": [], "groups": [], "config": {}, "version": 0.4,
        "extra": {"BlueprintDescription": DESCRIPTION},
        "definitions": {"subgraphs": [{
            "id": name, "version": 1, "revision": 0, "config": {}, "name": BLUEPRINT.stem, "category": "ApoAvatar",
            "description": DESCRIPTION,
            "state": {"lastGroupId": 0, "lastNodeId": graph["last_node_id"], "lastLinkId": last, "lastRerouteId": 0},
            "inputNode": {"id": INPUT_NODE, "bounding": [-2 * IO_WIDTH, 60, IO_WIDTH, 140]},
            "outputNode": {"id": OUTPUT_NODE, "bounding": [create["pos"][0] + create["size"][0] + IO_WIDTH, 60, IO_WIDTH, 60]},
            "inputs": [
                {"id": named(saved, key), "name": key, "type": kind, **label_of(key),
                 "linkIds": [link["id"] for link in links if (link["origin_id"], link["origin_slot"]) == (INPUT_NODE, slot)]}
                for slot, (key, kind) in enumerate(given)
            ],
            "outputs": [{"id": named(saved, "film"), "name": "VIDEO", "type": "VIDEO", "linkIds": [last]}],
            "widgets": [], "nodes": inside, "groups": [], "links": links, "extra": {},
        }]},
    }  # fmt: skip


def outer_node(name: str, given: list[tuple[str, str]], values: list) -> dict:
    """The node that a blueprint's subgraph is seen as."""
    dials = [key for key, _ in given if key in LABELS]
    return {
        "id": 1, "type": name, "pos": [0, 0], "size": list(BLUEPRINT_SIZE), "flags": {}, "order": 0, "mode": 0,
        "inputs": [
            {"name": key, "type": kind, **label_of(key), **({"widget": {"name": key}} if key in dials else {}), "link": None}
            for key, kind in given
        ],
        "outputs": [{"name": "VIDEO", "type": "VIDEO", "links": None}],
        "title": BLUEPRINT.stem,
        "properties": {"proxyWidgets": [["-1", key] for key in dials]},
        "widgets_values": values,
    }  # fmt: skip


def label_of(name: str) -> dict:
    return {"label": LABELS[name]} if name in LABELS else {}


def value_of(node: dict, widget: str) -> object:
    """A widget's value: the node's widgets are saved in the order of its sockets, with what becomes of a seed behind it."""
    names = []
    for socket in node["inputs"]:
        if "widget" in socket:
            names += [socket["name"], None] if socket["name"] == "seed" else [socket["name"]]
    return node["widgets_values"][names.index(widget)]


if __name__ == "__main__":
    main()
