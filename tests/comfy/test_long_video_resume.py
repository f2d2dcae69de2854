"""Long Video in the real server, killed in the middle of a film."""

from __future__ import annotations

import io
import shutil
import time
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.io import wavfile

from devtools import demo, environment, server, workflow

ROOT = Path(__file__).resolve().parents[2]
FRAMES, WINDOW, OVERLAP = 25, 9, 5
"""Five windows: one of nine frames, and four more each."""


@pytest.fixture
def prompt_for(tmp_path):
    """`prompt_for(server, portrait)`: the shipped workflow with small windows of one step; the portrait's file has this name."""
    noise = np.random.default_rng(0).normal(0, 3000, 16_000 * 2).astype(np.int16)
    wavfile.write(tmp_path / "voice.wav", 16_000, noise)

    def prompt_for(running: server.ComfyServer, portrait: str) -> dict:
        shutil.copy(ROOT / "workflows" / "assets" / "presenter.png", tmp_path / portrait)
        saved = workflow.load(ROOT / "workflows" / f"{demo.LONG}.json")
        workflow.connect_own(saved, "portrait", running.upload(tmp_path / portrait))
        workflow.connect_own(saved, "voice", running.upload(tmp_path / "voice.wav"))
        prompt = workflow.to_prompt(saved, running.object_info())
        for node, name, value in (
            ("BasicScheduler", "steps", 1),
            ("ApoAvatarConditioning", "length", WINDOW),
            ("ApoAvatarConditioning", "width", 64),
            ("ApoAvatarConditioning", "height", 64),
            ("ApoAvatarLongVideo", "length", FRAMES),
            ("ApoAvatarLongVideo", "motion_frames", OVERLAP),
            ("ApoAvatarLongVideo", "crf", 0.0),
        ):
            workflow.set_input(prompt, node, name, value)
        return prompt

    return prompt_for


def film_of(running: server.ComfyServer, entry: dict) -> np.ndarray:
    (file,) = running.output_files(entry)
    with av.open(io.BytesIO(running.fetch(file))) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def unfinished(running: server.ComfyServer) -> Path:
    return running.log_file.parent / "output" / "apoavatar_unfinished"


def test_a_film_whose_server_was_killed_goes_on_and_is_the_same(comfy_server, prompt_for) -> None:
    with server.running_server(environment.Layout(ROOT)) as first:
        first.submit(prompt_for(first, "presenter.png"))
        while not list(unfinished(first).glob("*/000001.safetensors")):
            first.refuse_if_stopped()
            time.sleep(0.01)
        first.process.kill()
        first.process.wait()
        shutil.copytree(unfinished(first), unfinished(comfy_server), dirs_exist_ok=True)
    (folder,) = unfinished(comfy_server).iterdir()
    windows = len(list(folder.glob("*.mp4")))
    assert 2 <= windows < 5

    resumed = prompt_for(comfy_server, "presenter.png")
    entry = comfy_server.queue(resumed)
    assert any("The film goes on after its" in sentence for sentence in demo.sentences(entry, resumed))
    found = film_of(comfy_server, entry)
    assert len(found) == FRAMES and not folder.exists()

    # Under another name the same picture is new to the server's cache, and the film is made from its beginning.
    whole = prompt_for(comfy_server, "same_presenter.png")
    entry = comfy_server.queue(whole)
    assert not any("goes on" in sentence for sentence in demo.sentences(entry, whole))
    np.testing.assert_array_equal(film_of(comfy_server, entry), found)


def test_two_queued_films_do_not_mix_when_the_first_is_cancelled(comfy_server, prompt_for) -> None:
    def film(portrait: str, frames: int, seed: int) -> dict:
        prompt = prompt_for(comfy_server, portrait)
        workflow.set_input(prompt, "ApoAvatarLongVideo", "length", frames)
        workflow.set_input(prompt, "RandomNoise", "noise_seed", seed)
        return prompt

    first, second = film("first.png", FRAMES, 1), film("second.png", WINDOW + 4, 2)
    cancelled, waiting = comfy_server.submit(first), comfy_server.submit(second)
    while not list(unfinished(comfy_server).glob("*/000000.safetensors")):
        comfy_server.refuse_if_stopped()
        time.sleep(0.01)
    comfy_server.cancel(cancelled)
    made = film_of(comfy_server, comfy_server.wait(waiting))
    (folder,) = unfinished(comfy_server).iterdir()
    assert 1 <= len(list(folder.glob("*.mp4"))) < 5, "the first one's, whose windows are kept"
    entry = comfy_server.queue(first)
    said = demo.sentences(entry, first)
    assert any("The film goes on after its" in sentence for sentence in said), (said, comfy_server.log()[-3000:])

    # Each by itself, of a picture that is new to the server's cache.
    for found, alone in ((film_of(comfy_server, entry), film("alone.png", FRAMES, 1)), (made, film("also_alone.png", WINDOW + 4, 2))):
        np.testing.assert_array_equal(found, film_of(comfy_server, comfy_server.queue(alone)))
