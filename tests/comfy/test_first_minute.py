"""What a newcomer meets first: inputs that are there, names that are found, and what is made of the portrait workflow."""
import importlib.util
import io
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from scipy.io import wavfile

from devtools import demo, workflow

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"
ASSETS = WORKFLOWS / "assets"
SEARCHED = (
    "talking avatar", "lip sync", "gesture", "speech to video", "infinitetalk", "multitalk", "voice", "portrait", "openpose",
    "dwpose", "unianimate", "cfg", "guidance", "audio reactive", "keypoints",
)  # fmt: skip


def module_of(path: Path):
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


variants = module_of(WORKFLOWS / "make_variants.py")


@pytest.fixture(scope="module")
def example(comfy):
    import nodes

    return nodes.NODE_CLASS_MAPPINGS["ApoAvatarExample"].execute


def test_the_example_is_what_its_files_hold(example):
    portrait, voice, film, pose = example().result
    picture = cv2.cvtColor(cv2.imread(str(ASSETS / "presenter.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal((portrait * 255).round().to(torch.uint8)[0].numpy(), picture)
    rate, samples = wavfile.read(ASSETS / "speech.wav")
    assert voice["sample_rate"] == rate
    np.testing.assert_allclose(voice["waveform"].numpy(), samples[None, None] / 32768, atol=1e-6)
    assert [video.get_dimensions() for video in (film, pose)] == [(320, 320), (256, 256)]
    assert [len(video.get_components().images) for video in (film, pose)] == [49, 49]


def test_what_is_connected_takes_the_place_of_the_example(example):
    own = {name: object() for name in ("portrait", "voice", "film", "pose")}
    assert list(example(**own).result) == list(own.values())
    portrait, voice, _, _ = example(voice=own["voice"]).result
    assert voice is own["voice"] and portrait.shape == (1, 512, 512, 3)


@pytest.fixture(scope="module")
def definitions(comfy_server):
    return comfy_server.object_info()


def test_every_node_is_found_by_the_words_of_a_stranger(definitions):
    own = {name: info["search_aliases"] or [] for name, info in definitions.items() if name.startswith("ApoAvatar")}
    assert [name for name, words in own.items() if len(words) < 3] == []
    for word in SEARCHED:
        assert any(word in alias for words in own.values() for alias in words), word


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.json")), ids=lambda path: path.stem)
def test_no_workflow_waits_for_a_file_that_is_not_chosen(path):
    """In a loader that names a file the page shows a user who has not got it an error before anything has run."""
    loaders = [node for node in workflow.load(path)["nodes"] if node["type"] in workflow.LOADERS.values()]
    assert [node["widgets_values"][0] for node in loaders] == (["", ""] if path == variants.APP else [])


@pytest.mark.parametrize(("path", "make"), [(variants.APP, variants.app_of), (variants.BLUEPRINT, variants.blueprint_of)])
def test_app_and_blueprint_are_made_of_the_portrait_workflow_as_it_is(path, make):
    """If not: `python workflows/make_variants.py`."""
    assert json.loads(path.read_text(encoding="utf-8")) == make(json.loads(variants.PORTRAIT.read_text(encoding="utf-8")))


def test_the_server_has_the_blueprint(comfy_server):
    known = json.loads(comfy_server.get("/global_subgraphs"))
    (key,) = (key for key, entry in known.items() if entry["name"] == variants.BLUEPRINT.stem)
    blueprint = json.loads(json.loads(comfy_server.get(f"/global_subgraphs/{key}"))["data"])
    (graph,) = blueprint["definitions"]["subgraphs"]
    assert [node["type"] for node in blueprint["nodes"]] == [graph["id"]]
    assert {node["type"] for node in graph["nodes"]} <= set(comfy_server.object_info())


def test_a_film_holds_the_graph_that_made_it(comfy_server, definitions, tmp_path):
    """As `dev.py demo` makes it: with the user's files and values."""
    cv2.imwrite(str(tmp_path / "mine.png"), np.full((64, 64, 3), 128, np.uint8))
    saved = workflow.load(WORKFLOWS / f"{demo.LONG}.json")
    workflow.connect_own(saved, "portrait", comfy_server.upload(tmp_path / "mine.png"))
    prompt = workflow.to_prompt(saved, definitions)
    for node, name, value in (
        ("CLIPTextEncode", "text", "a grey square"), ("BasicScheduler", "steps", 1), ("RandomNoise", "noise_seed", 7),
        ("ApoAvatarConditioning", "width", 64), ("ApoAvatarConditioning", "height", 64), ("ApoAvatarConditioning", "length", 5),
        ("ApoAvatarLongVideo", "length", 5), ("ApoAvatarLongVideo", "motion_frames", 1),
    ):  # fmt: skip
        workflow.set_input(prompt, node, name, value)
    workflow.keep_values(saved, prompt, definitions)
    film = demo.generate(comfy_server, prompt, graph=saved)

    with av.open(io.BytesIO(film)) as container:
        kept = json.loads(container.metadata["workflow"])
    assert kept == saved
    assert {node["type"] for node in kept["nodes"]} >= {"MarkdownNote", "LoadImage"} and kept["groups"]
    assert workflow.to_prompt(kept, definitions) == prompt
