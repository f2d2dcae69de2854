"""What is known of other people's files: the documents say what the table says, and the workflows ask for nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from apoavatar_core.checkpoints import documents, presets
from apoavatar_core.checkpoints.known_files import KNOWN_FILES

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
BY_NAME = {file.name: file for file in KNOWN_FILES}
OWN = "my_wan2.1_1.3B_adapter.safetensors"
"""The adapter that a user has trained."""


def nodes_of(workflow: Path) -> list[dict]:
    saved = json.loads(workflow.read_text(encoding="utf-8"))
    inside = [node for graph in saved.get("definitions", {}).get("subgraphs", []) for node in graph["nodes"]]
    return saved["nodes"] + inside


def named_in(value: object) -> Iterator[str]:
    """Every model file among a node's widget values, however deep."""
    if isinstance(value, str):
        yield from [value] if re.search(r"\.(safetensors|ckpt|pth?|gguf|bin|onnx)$", value) else []
    elif isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from named_in(part)


def models_of(workflow: Path) -> list[dict]:
    return [model for node in nodes_of(workflow) for model in node.get("properties", {}).get("models", [])]


# --- the workflows


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_what_a_workflow_offers_to_download_is_in_the_table(workflow: Path) -> None:
    for model in models_of(workflow):
        file = BY_NAME[model["name"]]
        assert (model["url"], model["directory"]) == (file.url, file.folder)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_what_a_workflow_loads_is_in_the_table_or_ships_with_the_pack(workflow: Path) -> None:
    shipped = {path.name for path in presets.PRESETS.rglob("*.safetensors")}
    for node in nodes_of(workflow):
        names = set(named_in(node.get("widgets_values")))
        assert names <= {*BY_NAME, *shipped, OWN}
        offered = {model["name"] for model in node.get("properties", {}).get("models", [])}
        assert offered == names & {*BY_NAME}, "ComfyUI offers what a node would miss, where it would miss it"


def test_every_file_of_the_table_is_loaded_by_a_workflow() -> None:
    assert {model["name"] for workflow in WORKFLOWS for model in models_of(workflow)} == {*BY_NAME}


# --- the table


@pytest.mark.parametrize("file", KNOWN_FILES, ids=lambda file: file.name)
def test_a_fact_has_its_source(file) -> None:
    assert file.path.endswith(file.name) and re.fullmatch(r"[\w.-]+/[\w.-]+", file.repository)
    assert (file.revision is None) == (file.bytes is None and file.sha256 is None)
    assert file.revision is None or re.fullmatch(r"[0-9a-f]{40}", file.revision)
    assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
    assert file.licence_source.startswith("https://")
    assert file.licence or file.unconfirmed, "a licence that is not known has its reason"
    assert file.layout is None or (ROOT / "tests" / "comfy" / "manifests" / f"{file.layout}.json").is_file()


def test_no_two_files_are_one() -> None:
    assert len(BY_NAME) == len(KNOWN_FILES) == len({file.sha256 or file.name for file in KNOWN_FILES})


# --- the documents


@pytest.mark.parametrize("name", documents.PARTS)
def test_a_document_says_what_the_table_says(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    again = documents.written(text, documents.PARTS[name]())
    assert again == text, "run python -m apoavatar_core.checkpoints document"


def test_the_readme_has_the_sizes_that_the_files_have() -> None:
    """Rounded by hand from what their pages say."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sizes = dict(re.findall(r"^\| `(.+?)` \| `\w+` \| (.+?) \|", readme, re.MULTILINE))
    assert {name.partition(".safetensors")[0]: size for name, size in sizes.items()} == {
        "Wan2_1-I2V-14B-480p_fp8_e4m3fn_scaled_KJ": "16.6 GB",
        "wan2.1_t2v_1.3B_fp16": "2.84 GB",
        "wan2.2_s2v_14B_fp8_scaled": "unknown",
        "wan2.1_infiniteTalk_multi_fp16": "5.12 GB",
        "UniAnimate-Wan2.1-14B-Lora-12000-fp16": "unknown",
        "umt5_xxl_fp8_e4m3fn_scaled": "6.74 GB",
        "clip_vision_h": "1.26 GB",
        "Wan2_1_VAE_bf16": "0.254 GB",
        "wav2vec2-chinese-base_fp16": "0.190 GB",
        "wav2vec2_large_english_fp16": "unknown",
        "lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16": "0.738 GB",
    }


def test_what_is_not_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = replace(KNOWN_FILES[0], bytes=None, sha256=None, licence=None, unconfirmed="Nobody wrote it down.")
    monkeypatch.setattr(documents, "KNOWN_FILES", (bare,))
    assert f"- `{bare.name}`: Size, hash, licence unknown. Nobody wrote it down.\n" in documents.overview()
    assert f"| `{bare.folder}` | unknown | **unconfirmed** |" in documents.overview()
    assert "| unknown | unknown | [unconfirmed](" in documents.details()


def test_documents_are_brought_up_to_date(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in documents.PARTS:
        part = "<!-- known files: x -->\nSTALE\n<!-- end of known files -->"
        (tmp_path / name).write_text(f"before\n{part}\nafter\n")
    assert documents.write_documents(tmp_path) == ["README.md", "docs/checkpoints.md"]
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before\n<!-- known files: x -->\n\n| file")
    assert text.endswith("\n\n<!-- end of known files -->\nafter\n")
    assert "STALE" not in text and documents.overview() in text
    assert documents.write_documents(tmp_path) == []


@pytest.mark.parametrize("times", [0, 2])
def test_a_document_without_its_place_is_refused(times: int) -> None:
    with pytest.raises(ValueError, match=f"has {times} parts"):
        documents.written("<!-- known files: x -->\n<!-- end of known files -->\n" * times, "new")


def test_the_command_writes_only_what_is_out_of_date() -> None:
    for name, part in documents.PARTS.items():  # or it would mend the checkout
        assert part() in (ROOT / name).read_text(encoding="utf-8")
    line = [sys.executable, "-m", "apoavatar_core.checkpoints", "document"]
    said = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == "written: nothing, all is as the table says\n"
