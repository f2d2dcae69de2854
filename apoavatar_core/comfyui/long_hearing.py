"""wav2vec2 on voices of any length, in the memory of ten minutes at most.

Its convolutions take most of the memory. They hear a piece at a time, and what they make of it is what they make of the whole sound:
what is measured over all of it (the level, and in the base model a norm over time) is measured over all of it. The attention of its
layers reaches as far as the sound, and its time grows with the square of that: up to ten minutes are heard whole, and of a longer
voice each part with what is said around it. docs/experiments.md says what that changes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import comfy.model_management
import folder_paths
import numpy as np
import torch
import torchaudio
from comfy.audio_encoders.wav2vec2 import LayerGroupNormConv, Wav2Vec2Model
from torch import Tensor

from .cancelling import end_if_cancelled

PIECE = 60.0
"""Seconds of a voice that the convolutions hear at once. A voice of so many is left to ComfyUI."""
LONGEST, AROUND = 600.0, 150.0
"""Seconds that the layers of attention hear at once, and how many of them, at either end of a part, belong to the next one."""
STRIDE, REACH = 320, 400
"""Samples from one row of features to the next, and how many each is made of."""
FIRST_STRIDE, FIRST_REACH = 5, 10
"""The same of the first convolution."""
RATE = 50
"""Rows of features a second."""


class LongHearing:
    """An AUDIO_ENCODER of wav2vec2 that hears voices of any length.

    What it heard of those of more than a minute lies in a file without a name, in ComfyUI's temp folder, and is read where it is
    needed.
    """

    def __init__(self, encoder):
        """encoder: ComfyUI's AudioEncoderModel with a Wav2Vec2Model."""
        self._encoder, self.model, self.patcher = encoder, encoder.model, encoder.patcher
        self.model_sample_rate = encoder.model_sample_rate

    @torch.inference_mode()
    def encode_audio(self, audio: Tensor, sample_rate: float) -> dict:
        """As ComfyUI's own: AUDIO_ENCODER_OUTPUT of a sound [1, C, S]."""
        if audio.shape[-1] <= PIECE * sample_rate:
            return self._encoder.encode_audio(audio, sample_rate)
        comfy.model_management.load_model_gpu(self.patcher)
        samples = torchaudio.functional.resample(audio.mean(1)[0], sample_rate, self.model_sample_rate)
        layers = heard_in_pieces(self.model, samples, self._encoder.load_device)
        return {"encoded_audio": layers[-1], "encoded_audio_all_layers": layers, "audio_samples": len(samples)}


def heard_in_pieces(model: Wav2Vec2Model, samples: Tensor, device: torch.device) -> list[Tensor]:
    """What each layer of a model makes of a voice [S], [1, N, d] on the CPU: first what enters the layers, then what each gives."""
    if model.do_normalize:
        samples = (samples - samples.mean()) / torch.sqrt(samples.var() + 1e-7)
    features = torch.cat(list(_convolved(model, samples, device)))
    count, longest, around = len(features), round(LONGEST * RATE), round(AROUND * RATE)
    part = count if count <= longest else longest - 2 * around
    kept = _in_a_file((len(model.encoder.layers) + 1, 1, count, features.shape[-1]))
    for start in range(0, count, part):
        end_if_cancelled()
        stop, first = min(start + part, count), max(start - around, 0)
        _, layers = model.encoder(features[None, first : stop + around].to(device))
        for whole, layer in zip(kept, layers, strict=True):
            whole[:, start:stop] = layer[:, start - first : stop - first]
    return list(kept)


def _convolved(model: Wav2Vec2Model, samples: Tensor, device: torch.device) -> Iterator[Tensor]:
    """The rows [N, d] that enter the layers of attention, a piece after the other."""
    first, *others = model.feature_extractor.conv_layers
    norm = _norm_over_time(first, samples, device) if isinstance(first, LayerGroupNormConv) else first
    for piece in _pieces(samples, STRIDE, REACH):
        x = norm(piece.to(device))
        for layer in others:
            x = layer(x)
        yield model.feature_projection(x.transpose(1, 2))[0].cpu()


def _norm_over_time(layer: LayerGroupNormConv, samples: Tensor, device: torch.device):
    """The layer, whose norm is over all of a sound, as a function of pieces of that sound."""
    count, total, squares = 0, 0.0, 0.0
    for piece in _pieces(samples, FIRST_STRIDE, FIRST_REACH):
        x = layer.conv(piece.to(device)).double()
        count, total, squares = count + x.shape[-1], total + x.sum(-1, keepdim=True), squares + x.square().sum(-1, keepdim=True)
    mean = total / count
    scale = (squares / count - mean.square() + layer.layer_norm.eps).rsqrt()

    def apply(piece: Tensor) -> Tensor:
        x = layer.conv(piece)
        weight, bias = (parameter.to(x)[:, None] for parameter in (layer.layer_norm.weight, layer.layer_norm.bias))
        return torch.nn.functional.gelu((x - mean.to(x)) * scale.to(x) * weight + bias)

    return apply


def _pieces(samples: Tensor, stride: int, reach: int) -> Iterator[Tensor]:
    """[1, 1, s] parts of samples [S] of which a convolution makes all that it makes of the whole, nothing twice."""
    count, step = (len(samples) - reach) // stride + 1, round(PIECE * RATE * STRIDE) // stride
    for start in range(0, count, step):
        end_if_cancelled()
        yield samples[None, None, start * stride : (min(start + step, count) - 1) * stride + reach]


def _in_a_file(shape: tuple[int, ...]) -> Tensor:
    """float32 of this shape that takes the disk's place instead of memory's; the file goes with the tensor."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
