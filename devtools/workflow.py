"""Workflows as the ComfyUI page saves them, turned into the prompts that its HTTP API takes.

A saved workflow keeps a node's values as a plain list; which value belongs to which input follows from the node's
definition, as GET /object_info tells it.
"""
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from .errors import WorkflowError

MUTED, BYPASSED = 2, 4
NOTES = {"Note", "MarkdownNote"}
WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
CONTROL_VALUES = {"fixed", "increment", "decrement", "randomize"}
EXAMPLE = "ApoAvatarExample"
LOADERS = {"portrait": "LoadImage", "voice": "LoadAudio", "film": "LoadVideo", "pose": "LoadVideo"}
"""What loads a user's file for each input of EXAMPLE."""
LOADER_SIZE, LOADER_GAP = (320, 360), 60
UPLOAD_OPTIONS = {"image_upload", "animated_image_upload", "video_upload", "audio_upload", "file_upload"}


def load(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkflowError(f"the workflow {path} cannot be read: {error}") from None


def connect_own(workflow: dict, name: str, file: str) -> None:
    """Loads a file of ComfyUI's input folder for an input of ApoAvatar Example: its loader stands below what is left of the node.

    Raises:
        WorkflowError: the workflow has no such node.
    """
    example = next((node for node in workflow["nodes"] if node["type"] == EXAMPLE), None)
    if example is None:
        raise WorkflowError(f"the workflow has no {EXAMPLE} node.")
    slot, socket = next((slot, socket) for slot, socket in enumerate(example["inputs"]) if socket["name"] == name)
    node_id, link = workflow["last_node_id"] + 1, workflow["last_link_id"] + 1
    (left, top), (width, height) = example["pos"], LOADER_SIZE
    above = [node["pos"][1] + node["size"][1] for node in workflow["nodes"] if node["pos"][0] < left]
    place = [left - width - 2 * LOADER_GAP, max([top, *above]) + LOADER_GAP]
    loader = {
        "id": node_id, "type": LOADERS[name], "pos": place, "size": [width, height], "flags": {}, "order": 0, "mode": 0,
        "inputs": [], "outputs": [{"name": socket["type"], "type": socket["type"], "links": [link]}],
        "properties": {"Node name for S&R": LOADERS[name]}, "widgets_values": [file],
    }  # fmt: skip
    workflow["nodes"].append(loader)
    workflow["links"].append([link, node_id, 0, example["id"], slot, socket["type"]])
    workflow["last_node_id"], workflow["last_link_id"], socket["link"] = node_id, link, link


def to_prompt(workflow: dict, object_info: dict) -> dict:
    """The API prompt of a saved workflow.

    Notes and muted nodes are left out; a link into a bypassed node goes on to what that node would pass through.
    """
    nodes = {node["id"]: node for node in workflow["nodes"] if node["type"] not in NOTES}
    links = dict(origins(workflow))
    prompt = {}
    for node in nodes.values():
        if node.get("mode", 0) in (MUTED, BYPASSED):
            continue
        if node["type"] not in object_info:
            raise WorkflowError(f"this ComfyUI has no node {node['type']} (node {node['id']} of the workflow).")
        inputs = widget_inputs(node, object_info[node["type"]])
        for socket in node.get("inputs", []):
            origin = resolve(links.get(socket.get("link")), nodes, links)
            if origin is not None:
                inputs[socket["name"]] = [str(origin[0]), origin[1]]
        prompt[str(node["id"])] = {
            "class_type": node["type"],
            "inputs": inputs,
            "_meta": {"title": node.get("title") or node["type"]},
        }
    return prompt


def origins(workflow: dict) -> Iterator[tuple[int, tuple[int, int]]]:
    """(link id, (node, output)) of every link, in either of the two ways the page saves them."""
    for link in workflow["links"]:
        if isinstance(link, dict):
            yield link["id"], (link["origin_id"], link["origin_slot"])
        else:
            yield link[0], (link[1], link[2])


def resolve(origin: tuple[int, int] | None, nodes: dict, links: dict) -> tuple[int, int] | None:
    """Where a link really comes from, past bypassed nodes; None if from nowhere."""
    while origin is not None:
        node_id, slot = origin
        node = nodes.get(node_id)
        if node is None or node.get("mode", 0) == MUTED:
            return None
        if node.get("mode", 0) != BYPASSED:
            return origin
        origin = links.get(passed_through(node, slot))
    return None


def passed_through(node: dict, slot: int) -> int | None:
    """The link into a bypassed node that its output `slot` passes on: the input opposite, or the first of that type."""
    wanted = node["outputs"][slot]["type"]
    inputs = node.get("inputs", [])
    for candidate in inputs[slot : slot + 1] + inputs:
        if candidate["type"] == wanted and candidate.get("link") is not None:
            return candidate["link"]
    return None


def keep_values(workflow: dict, prompt: dict, object_info: dict) -> None:
    """Puts the values of a prompt that was made from this workflow into the workflow, as the page would have saved them."""
    for node in workflow["nodes"]:
        if str(node["id"]) not in prompt or not isinstance(node.get("widgets_values"), list):
            continue
        inputs = prompt[str(node["id"])]["inputs"]
        for name, (place, _) in widgets_of(node, object_info[node["type"]]).items():
            if place is not None and not isinstance(inputs[name], list):
                node["widgets_values"][place] = inputs[name]


def widget_inputs(node: dict, definition: dict) -> dict:
    """The values of a node's widgets by input name; inputs the workflow does not know of get their defaults."""
    saved = node.get("widgets_values")
    if isinstance(saved, dict):
        return {name: saved[name] for name, _ in declared_inputs(definition["input"]) if name in saved}
    return {name: value for name, (_, value) in widgets_of(node, definition).items()}


def widgets_of(node: dict, definition: dict) -> dict[str, tuple[int | None, object]]:
    """Each widget's place among the node's saved values, None where the workflow does not know of it, and its value."""
    values = list(enumerate(node.get("widgets_values") or []))
    widgets, has_upload = read_widgets(definition["input"], values, "")
    # After an upload input the page also saves its buttons and players, which are no inputs.
    if values and not has_upload:
        raise WorkflowError(
            f"the workflow does not fit this ComfyUI: {node['type']} (node {node['id']}) has {len(values)} "
            "values more than inputs."
        )
    return widgets


def read_widgets(declared: dict, values: list[tuple[int, object]], prefix: str) -> tuple[dict, bool]:
    """Takes the (place, value) of the declared widgets off the front of `values`; says whether one of them takes uploads."""
    widgets, has_upload = {}, False
    for name, specification in declared_inputs(declared):
        kind, options = specification[0], (specification[1:] or [{}])[0]
        if not is_widget(kind, options):
            continue
        if not values:
            if "default" in options:
                widgets[prefix + name] = None, options["default"]
            continue
        _, value = widgets[prefix + name] = values.pop(0)
        if kind == DYNAMIC_COMBO:
            chosen = next((option for option in options["options"] if option["key"] == value), None)
            if chosen is not None:
                more, uploads = read_widgets(chosen["inputs"], values, f"{prefix}{name}.")
                widgets.update(more)
                has_upload |= uploads
        if has_control(name, kind, options) and values and values[0][1] in CONTROL_VALUES:
            values.pop(0)
        if any(options.get(option) for option in UPLOAD_OPTIONS):
            has_upload = True
            if values and values[0][1] == "image":
                values.pop(0)
    return widgets, has_upload


def declared_inputs(declared: dict) -> Iterator[tuple[str, list]]:
    for group in ("required", "optional"):
        yield from declared.get(group, {}).items()


def is_widget(kind, options: dict) -> bool:
    if options.get("forceInput") or options.get("rawLink"):
        return False
    return isinstance(kind, list) or kind == DYNAMIC_COMBO or kind in WIDGET_TYPES


def has_control(name: str, kind, options: dict) -> bool:
    """Whether the page puts a "control after generate" widget after this one."""
    return bool(options.get("control_after_generate")) or (kind == "INT" and name in ("seed", "noise_seed"))


def nodes_of(prompt: dict, class_type: str, title: str | None = None) -> list[dict]:
    """The prompt's nodes of a class, and of a title if one is given."""
    return [
        node
        for node in prompt.values()
        if node["class_type"] == class_type and (title is None or node["_meta"]["title"] == title)
    ]


def set_input(prompt: dict, class_type: str, name: str, value, title: str | None = None) -> None:
    """Sets an input on every node of a class (and title); a value that comes through a link is set where it is kept."""
    nodes = nodes_of(prompt, class_type, title)
    if not nodes:
        raise WorkflowError(f"the workflow has no {class_type} node" + (f' titled "{title}".' if title else "."))
    for node in nodes:
        owner, key = value_owner(prompt, node, name)
        owner[key] = value


def choose(prompt: dict, object_info: dict, class_type: str, name: str, option: str) -> None:
    """Sets a choice that brings inputs of its own on every node of a class, and takes away those that the option has not:
    ComfyUI would hand them to the node.
    """
    declared = dict(declared_inputs(object_info[class_type]["input"]))[name][1]["options"]
    (inputs,) = (found["inputs"] for found in declared if found["key"] == option)
    kept = {f"{name}.{nested}" for nested, _ in declared_inputs(inputs)}
    set_input(prompt, class_type, name, option)
    for node in nodes_of(prompt, class_type):
        for given in [given for given in node["inputs"] if given.startswith(f"{name}.") and given not in kept]:
            del node["inputs"][given]


def get_input(prompt: dict, class_type: str, name: str):
    """The value of an input of the first node of a class."""
    nodes = nodes_of(prompt, class_type)
    if not nodes:
        raise WorkflowError(f"the workflow has no {class_type} node.")
    owner, key = value_owner(prompt, nodes[0], name)
    return owner[key]


def value_owner(prompt: dict, node: dict, name: str) -> tuple[dict, str]:
    """The inputs that hold a value and its key in them: the node's own, or those of the primitive node linked to it."""
    if name not in node["inputs"]:
        raise WorkflowError(f"{node['class_type']} has no input {name} in this workflow.")
    value = node["inputs"][name]
    if not isinstance(value, list):
        return node["inputs"], name
    source = prompt[value[0]]
    if "value" not in source["inputs"]:
        raise WorkflowError(f"{node['class_type']}'s {name} is computed by {source['class_type']}; it cannot be set.")
    return value_owner(prompt, source, "value")
