"""The workflows as a stranger reads them: everything is used, named, explained and to be seen before it is rendered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
SAMPLERS = {"ApoAvatarSampler", "KSampler", "SamplerCustomAdvanced", "ApoAvatarLongVideo"}
LOADERS = {"ApoAvatarLoadModels", "UNETLoader", "CheckpointLoaderSimple", "CLIPLoader", "VAELoader"}
GROUND = (0x22, 0x22, 0x22)
"""Of the page's canvas; a group's colour lies on it at a quarter of its strength, its title in full."""
READABLE = 4.5
"""Contrast of text and ground that WCAG 2 asks for (AA)."""


def load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def nodes_of(saved: dict, *types: str) -> list[dict]:
    return [node for node in saved["nodes"] if node["type"] in types]


def origin_of(saved: dict, node: dict, name: str) -> dict | None:
    """The node that an input comes from."""
    (number,) = [socket.get("link") for socket in node["inputs"] if socket["name"] == name] or [None]
    origins = [link[1] for link in saved["links"] if link[0] == number]
    return next((found for found in saved["nodes"] if found["id"] in origins), None)


def needed_by(saved: dict, node: dict) -> Iterator[dict]:
    """A node, and all that has to run before it."""
    yield node
    for socket in node.get("inputs", ()):
        before = origin_of(saved, node, socket["name"])
        if before is not None:
            yield from needed_by(saved, before)


def in_group(group: dict, node: dict) -> bool:
    left, top, width, height = group["bounding"]
    x, y = node["pos"]
    return left <= x <= left + width and top <= y <= top + height


def test_every_node_of_the_pack_is_in_a_workflow() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "nodes").glob("*.py"))
    used = {node["type"] for path in WORKFLOWS for node in load(path)["nodes"]}
    assert set(re.findall(r'node_id="(\w+)"', sources)) - used == set()


@each_workflow
def test_every_node_has_a_title_of_its_own(path: Path) -> None:
    nodes = load(path)["nodes"]
    titles = [node.get("title") for node in nodes]
    assert all(titles) and len({*titles}) == len(titles)
    assert not [node["title"] for node in nodes if node["title"] == node["type"] and node["type"] != "KSampler"]


@each_workflow
def test_titles_are_seen_whole(path: Path) -> None:
    """The page cuts a folded node's title, and a node's badge, above its right end, lies on the end of a long group's title."""
    saved = load(path)
    assert [node["title"] for node in saved["nodes"] if node["flags"].get("collapsed") and len(node["title"]) > 20] == []
    assert [group["title"] for group in saved["groups"] if len(group["title"]) > 17] == []


@each_workflow
def test_the_note_names_time_and_memory_and_shows_no_code(path: Path) -> None:
    (note,) = nodes_of(load(path), "MarkdownNote")
    (text,) = note["widgets_values"]
    assert "**Time and memory**: " in text and "`" not in text


@each_workflow
def test_the_titles_of_groups_are_readable(path: Path) -> None:
    for group in load(path)["groups"]:
        assert re.fullmatch("#[0-9a-f]{6}", group["color"])
        colour = tuple(bytes.fromhex(group["color"][1:]))
        ground = [0.75 * under + 0.25 * over for under, over in zip(GROUND, colour)]
        assert contrast(colour, ground) >= READABLE, group["title"]


def contrast(one, other) -> float:
    """Of two sRGB colours in 0..255 (WCAG 2)."""

    def luminance(colour) -> float:
        shares = [value / 255 for value in colour]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


@each_workflow
def test_wan_is_told_what_to_leave_out_where_guidance_is_high(path: Path) -> None:
    saved = load(path)
    high = [node for node in nodes_of(saved, "KSampler") if node["widgets_values"][3] > 1]
    high += [node for node in nodes_of(saved, "ApoAvatarSampler", "ApoAvatarDecoupledCFGGuider") if node["widgets_values"][0] > 1]
    (negative,) = [node for node in nodes_of(saved, "CLIPTextEncode") if node["title"] == "Negative prompt"] or [None]
    if high and "Wan" in path.stem:
        assert "畸形的" in negative["widgets_values"][0]


@each_workflow
def test_the_gate_has_the_frame_rate_of_the_clip(path: Path) -> None:
    saved = load(path)
    for gate in nodes_of(saved, "ApoAvatarLoudnessRefocusing"):
        rate = origin_of(saved, gate, "fps")
        assert rate is not None
        for clip in nodes_of(saved, "ApoAvatarConditioning"):
            assert origin_of(saved, clip, "fps") is rate


@each_workflow
def test_what_the_body_will_do_is_seen_before_anything_is_sampled(path: Path) -> None:
    """Where a pose is followed: skeleton and gate, in a group whose outputs need neither a sampler nor a model that draws."""
    saved = load(path)
    if not nodes_of(saved, "ApoAvatarLoudnessRefocusing"):
        return
    groups = [group for group in saved["groups"] if group["title"].startswith(("Preview", "Gate", "See it"))]
    shown = [node for node in nodes_of(saved, "PreviewImage", "SaveVideo") if any(in_group(group, node) for group in groups)]
    needed = [{before["type"] for before in needed_by(saved, node)} for node in shown]
    assert not set.union(*needed) & (SAMPLERS | LOADERS)
    assert any("ApoAvatarLoudnessRefocusing" in types for types in needed), "the gate"
    assert any(types & {"ApoAvatarRenderPose", "ImageBlend"} and "ApoAvatarExample" in types for types in needed), "the skeleton"


@each_workflow
def test_pictures_have_the_portraits_shape(path: Path) -> None:
    """Those that Wan makes of it, and skeletons that are drawn over it."""
    saved = load(path)
    kinds = ("ApoAvatarRenderPose", "WanSoundImageToVideo", "ApoAvatarConditioning" if nodes_of(saved, "UNETLoader") else "")
    for node in nodes_of(saved, *kinds):
        if any(origin_of(saved, node, name) for name in ("background", "ref_image", "reference_image")):
            sizes = [origin_of(saved, node, side) for side in ("width", "height")]
            assert [size["type"] for size in sizes] == ["GetImageSize", "GetImageSize"]
            assert "ApoAvatarExample" in {needed["type"] for needed in needed_by(saved, sizes[0])}
