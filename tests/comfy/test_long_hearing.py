"""wav2vec2 a piece at a time beside ComfyUI's own on the whole voice: small models with random weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.comfy.test_warm_start import randomize

RATE = 16_000
SECONDS = 5


def encoder_of(kind: str):
    """ComfyUI's, small; "base" has a norm over time and "large" takes the sound's own level."""
    import comfy.audio_encoders.audio_encoders

    options = dict.fromkeys(("conv_norm", "conv_bias", "do_normalize", "do_stable_layer_norm"), kind == "large")
    sizes = {"model_type": "wav2vec2", "embed_dim": 32, "num_heads": 2, "num_layers": 2}
    encoder = comfy.audio_encoders.audio_encoders.AudioEncoderModel({**sizes, **options})
    randomize(encoder.model, 8)
    return encoder


@pytest.fixture(scope="module")
def voice() -> Tensor:
    """A voice in two channels that falls silent for its middle, of which a piece alone would know nothing."""
    sound = 0.2 * torch.randn(1, 2, SECONDS * RATE + 123, generator=torch.Generator().manual_seed(1))
    sound[..., int(1.5 * RATE) : int(3.5 * RATE)] *= 0.01
    return sound


@pytest.fixture
def room(pack, tmp_path, monkeypatch):
    import folder_paths

    found = pack("apoavatar_core.comfyui.long_hearing")
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path / "temp"))
    monkeypatch.setattr(found, "PIECE", 1.0)
    return found


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["base", "large"])
def test_what_is_heard_in_pieces_is_what_comfyui_hears_of_the_whole(room, voice, kind: str, monkeypatch) -> None:
    encoder = encoder_of(kind)
    whole, found = (each.encode_audio(voice, RATE) for each in (encoder, room.LongHearing(encoder)))
    assert found["audio_samples"] == whole["audio_samples"] and len(found["encoded_audio_all_layers"]) == 3
    for number, (piece, expected) in enumerate(zip(found["encoded_audio_all_layers"], whole["encoded_audio_all_layers"])):
        assert piece.shape == expected.shape
        assert (piece - expected).abs().max() < 1e-3 * expected.std(), number
    assert torch.equal(found["encoded_audio"], found["encoded_audio_all_layers"][-1])
    assert not list((room.Path(room.folder_paths.get_temp_directory())).iterdir()), "its file has no name"
    # The layers of a voice that is too long for their attention: what enters them is still the same.
    monkeypatch.setattr(room, "LONGEST", 4.5)
    monkeypatch.setattr(room, "AROUND", 1.5)
    entered, *heard = room.LongHearing(encoder).encode_audio(voice, RATE)["encoded_audio_all_layers"]
    assert (entered - whole["encoded_audio_all_layers"][0]).abs().max() < 1e-3
    for part, expected in zip(heard, whole["encoded_audio_all_layers"][1:]):
        assert 0 < (part - expected).std() < 0.3 * expected.std()


@torch.inference_mode()
def test_a_short_voice_is_heard_by_comfyui(room, voice) -> None:
    encoder = encoder_of("base")
    short = voice[..., :RATE]
    assert torch.equal(room.LongHearing(encoder).encode_audio(short, RATE)["encoded_audio"], encoder.encode_audio(short, RATE)["encoded_audio"])
