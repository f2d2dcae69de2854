"""What the page asks the server while nothing runs: the same numbers as in a run, and sentences where there are none."""
import json
import wave
from pathlib import Path

import pytest

ASSETS = Path(__file__).resolve().parents[2] / "workflows" / "assets"
DIALS = {"fps": 25.0, "frames": 0, "alpha": 7.0, "beta": 0.3, "tau": 4.0, "q_low": 10.0, "q_high": 80.0}


def ask(server, question: str, **query) -> dict:
    return json.loads(server.get(f"/apoavatar/{question}", **query))


def test_the_gate_before_a_run_is_the_gate_of_the_run(comfy_server):
    speech = comfy_server.upload(ASSETS / "speech.wav")
    prompt = {
        "sound": {"class_type": "LoadAudio", "inputs": {"audio": speech}},
        "gate": {"class_type": "ApoAvatarLoudnessRefocusing", "inputs": {"audio": ["sound", 0], **DIALS}},
        "keep": {"class_type": "PreviewAny", "inputs": {"source": ["gate", 2]}},
    }
    outputs = comfy_server.queue(prompt)["outputs"]
    before, (shown,) = ask(comfy_server, "gate", file=speech, **DIALS), map(json.loads, outputs["gate"]["apoavatar_gate"])
    assert before == shown
    assert before["keep"] == pytest.approx(json.loads(outputs["keep"]["text"][0]), abs=1e-6)
    assert (before["step"], before["frames"], before["fps"], before["beta"]) == (1, len(before["keep"]), 25.0, 0.3)


def test_the_examples_voice_is_known_without_a_file(comfy_server):
    assert ask(comfy_server, "gate", example="") == ask(comfy_server, "gate", file=comfy_server.upload(ASSETS / "speech.wav"))


def test_a_sound_is_heard_once_however_often_a_dial_moves(pack):
    page = pack("apoavatar_core.comfyui.page")
    for hearing in (page.heard, page.levels):
        hearing.cache_clear()
    shown = [page.gate_before_a_run({"example": "", "beta": str(beta / 10)})["keep"] for beta in range(3, 8)]
    assert len({str(keep) for keep in shown}) == 5
    assert (page.heard.cache_info().misses, page.levels.cache_info().misses) == (1, 1)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"file": "nowhere.wav"}, "'nowhere.wav' is not in ComfyUI's input folder: choose the audio again."),
        ({}, "'' is not in ComfyUI's input folder: choose the audio again."),
        ({"file": "../comfyui.log"}, "'../comfyui.log' is not in ComfyUI's input folder: choose the audio again."),
        ({"file": "/etc/hostname"}, "'/etc/hostname' is not in ComfyUI's input folder: choose the audio again."),
        ({"file": "presenter.png"}, "No sound can be read from presenter.png: choose another file."),
        ({"file": "hours.wav"}, "hours.wav is longer than 10 minutes: its gate is shown after a run."),
        ({"file": "empty.wav"}, "empty.wav does not say how long it is: its gate is shown after a run."),
        ({"file": "speech.wav", "alpha": "nan"}, "alpha is 'nan': give a number."),
        ({"file": "speech.wav", "tau": "0"}, "tau is 0.0; use a number above 0 (the paper uses 8)."),
        ({"file": "speech.wav", "frames": "1e6"}, "frames is 1e+06: a gate of up to 10 minutes is shown before a run."),
    ],
)
def test_what_has_no_gate_is_told_in_a_sentence(comfy_server, tmp_path, query, sentence):
    for asset in ("speech.wav", "presenter.png"):
        comfy_server.upload(ASSETS / asset)
    for name, samples in (("hours.wav", 601_000), ("empty.wav", 0)):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setparams((1, 1, 1000, 0, "NONE", ""))
            file.writeframes(bytes(samples))
        comfy_server.upload(tmp_path / name)
    assert ask(comfy_server, "gate", **query) == {"error": sentence}


@pytest.mark.parametrize(
    ("scales", "present", "states"),
    [
        ((1, 1, 1, 1), "text,image,audio,pose", [["text", "image", "audio", "pose"]]),
        ((3, 3, 3, 3), "text,audio", [["text", "audio"], []]),
        ((2, 2, 3, 2), "text,image,audio", [["text", "image", "audio"], ["text", "image"], []]),
        ((1, 2, 3, 4), "text,image,audio,pose",
         [["text", "image", "audio", "pose"], ["text", "image", "audio"], ["text", "image"], ["text"]]),
    ],
)  # fmt: skip
def test_what_a_step_evaluates(comfy_server, scales, present, states):
    query = dict(zip(("text", "image", "audio", "pose"), scales, strict=True))
    assert ask(comfy_server, "evaluations", present=present, **query) == {"states": states}


def test_an_unknown_modality_is_told_in_a_sentence(comfy_server):
    assert "no such modality: smell" in ask(comfy_server, "evaluations", present="text,smell")["error"]
