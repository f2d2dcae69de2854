"""The training guide's commands: each is one that its program takes, and a newcomer's run in their order."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from tests.comfy.test_training import STAGE, write_film

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^ *```\w*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
MODULE = re.compile(r"-m\s+(apoavatar_core[\w.]*)\s+(\S.*)")


def commands() -> list[str]:
    """`module arguments` of every command of the guide, in blocks and in sentences."""
    blocks = re.findall(BLOCK, GUIDE)
    lines = [line.split(" #")[0] for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", re.sub(BLOCK, "", GUIDE))]
    return [" ".join(found.groups()) for found in map(MODULE.search, lines) if found]


class Taken(Exception):
    """A program took its arguments."""


@pytest.fixture
def takes(training, monkeypatch) -> Callable[[str], argparse.Namespace]:
    """`takes(command)`: what the program reads from it, before it does anything."""
    parse = argparse.ArgumentParser.parse_args

    def parsed(self, *arguments):
        raise Taken(parse(self, *arguments))

    def take(command: str) -> argparse.Namespace:
        module, *words = shlex.split(command)
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
        monkeypatch.setattr(sys, "argv", [module, *words])
        with pytest.raises(Taken) as taken:
            importlib.import_module(f"{module}.__main__").main()
        return taken.value.args[0]

    return take


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_guide_is_taken(takes, command) -> None:
    found = takes(command)
    config = getattr(found, "config", None)
    if config is not None and config.parts[0] == "apoavatar_core":
        assert (ROOT / config).is_file()


def test_the_guide_goes_from_films_to_a_resumed_run() -> None:
    found = [command.split()[1] for command in commands() if command.startswith("apoavatar_core.training ")]
    assert found[:6] == ["pose", "pose", "prepare", "estimate", "train", "train"]


@pytest.fixture
def numbers_near_zero():
    """A command computes without them in its own process, and this one's tests go on with them."""
    yield
    torch.set_flush_denormal(False)


def test_a_newcomer_s_commands_run_one_after_the_other(training, tmp_path, monkeypatch, numbers_near_zero) -> None:
    """With the tiny preset's encoders and a small new backbone in the place of Wan's."""
    from accelerate.state import AcceleratorState

    from apoavatar_core.training.__main__ import main

    def run(*words: object) -> None:
        AcceleratorState._reset_state()
        monkeypatch.setattr(sys, "argv", ["training", *map(str, words)])
        main()

    films, clips = tmp_path / "films", tmp_path / "clips"
    films.mkdir()
    write_film(films / "talk.mp4", 20)
    (films / "talk.txt").write_text("a grey wall")
    run("pose", films)
    assert (films / "talk.pose.json").is_file()
    run("prepare", films, "--out", clips, "--size", 64, 64, "--frames", 9)
    content = {
        "data": str(clips),
        "run": str(tmp_path / "run"),
        "backbone": {"new": {"dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2}},
        "adapter": {"new": {"audio_dim": 32, "tokens_per_frame": 2, "pose_channels": 8}},
        "stages": [{**STAGE, "steps": 2}],
        "save_every": 1,
    }
    config = tmp_path / "my.yaml"
    config.write_text(yaml.safe_dump(content))
    run("estimate", config, "--size", 64, 64, "--frames", 9)
    run("train", config)
    with pytest.raises(SystemExit, match="give --resume or another folder"):
        run("train", config)
    run("train", config, "--resume")
    assert (tmp_path / "run" / "adapter.safetensors").is_file()
