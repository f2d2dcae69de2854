"""Audio windows A_t (§3.3): a voice's features at 50 Hz → one row per video frame → eight rows per latent frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..grid import AUDIO_RATE, AUDIO_ROWS, AUDIO_WINDOW, FRAMES_PER_LATENT, fills_latent_frames, latent_frames
from ..log_mel import LogMelEncoder
from ..waveform import check_fps


@dataclass(frozen=True, eq=False)
class Voice:
    """One voice as an audio encoder heard it. The encoder's own tensors, which take a gigabyte for ten minutes, are not copied.

    Attributes:
        layers: [N, d] each, in their order; row n is at n / rate s.
        rate: rows per second.
        silence: [layers · d], what is heard after the last row.
        encoder: what it is called in an adapter's configuration.
    """

    layers: tuple[Tensor, ...]
    rate: float
    silence: Tensor
    encoder: str

    def __len__(self) -> int:
        return len(self.layers[0])

    def rows(self, numbers: Tensor) -> Tensor:
        """float32 [n, layers · d], the values of all layers in some rows, the first layer's d values first. Reshape to
        [n, layers, d] for MultiTalk's projection.
        """
        return torch.cat([layer[numbers.to(layer.device)] for layer in self.layers], dim=-1).float()


@dataclass(frozen=True)
class EncoderOutput:
    """How an audio encoder lists what it heard.

    Attributes:
        encoder: what it is called in an adapter's configuration.
        first_layer: the first of its tensors that counts.
        silent_row: the row of a voice that stands for silence.
    """

    encoder: str
    first_layer: int
    silent_row: int


LOG_MEL = EncoderOutput(LogMelEncoder.name, first_layer=0, silent_row=-1)
"""Its one tensor ends in silence."""
WAV2VEC2 = EncoderOutput("wav2vec2", first_layer=1, silent_row=0)
"""Its input embedding comes before the layers and is left out, and a voice most likely begins in silence: both as
ComfyUI's InfiniteTalk node takes it."""
WHISPER = EncoderOutput("whisper", first_layer=1, silent_row=0)
"""Likewise."""

BY_NAME = {kind.encoder: kind for kind in (LOG_MEL, WAV2VEC2, WHISPER)}
"""For those whose output says under "encoder" what they are, or whose caller knows."""
BY_WIDTH = {768: WAV2VEC2, 1024: WAV2VEC2, 1280: WHISPER}
"""Those that ComfyUI loads, whose output says nothing: ComfyUI's loader tells the sizes of wav2vec2 by this width too."""


def voice_of(encoder_output: Mapping, encoder: str | None = None) -> Voice:
    """The voice in what an audio encoder's encode_audio returned (AUDIO_ENCODER_OUTPUT), [1, N, d] per layer at 50 Hz.

    Args:
        encoder: its name in an adapter's configuration, where the encoder itself is at hand; else its output tells.

    Raises:
        ValueError: it holds several clips, or comes from an encoder that is not known.
    """
    layers = list(encoder_output["encoded_audio_all_layers"])
    clips, _, width = layers[0].shape
    if clips != 1:
        raise ValueError(f"audio features hold {clips} clips; pass one clip at a time.")
    name = encoder or encoder_output.get("encoder")
    kind = BY_WIDTH.get(width) if name is None else BY_NAME.get(name)
    if kind is None or len(layers) <= kind.first_layer:
        raise ValueError(
            f"audio_features come from {name or 'an audio encoder'} with {len(layers)} layers of {width} values, which this "
            "pack does not know: load wav2vec2 with Load Audio Encoder, or the tiny preset."
        )
    used = tuple(layer[0] for layer in layers[kind.first_layer :])
    silence = torch.cat([layer[kind.silent_row] for layer in used]).float()
    return Voice(used, AUDIO_RATE, silence, kind.encoder)


def features_at_video_rate(voice: Voice, frames: int, fps: float, start: int = 0) -> Tensor:
    """What is heard at the times t / fps of the video frames, linearly interpolated; past the end of the voice silence.

    Args:
        voice: N rows.
        frames: T ≥ 1.
        fps: video frames per second.
        start: the first of the frames.

    Returns:
        float32 [T, layers · d].
    """
    if frames < 1:
        raise ValueError(f"frames is {frames}; ask for at least 1 video frame.")
    check_fps(fps)
    last = len(voice)  # the place of silence
    position = (torch.arange(start, start + frames, dtype=torch.float64) * (voice.rate / fps)).clamp(max=last)
    before = position.floor().long()
    after = (before + 1).clamp(max=last)
    fraction = (position - before)[:, None].to(voice.silence)

    def heard(row: Tensor) -> Tensor:
        return torch.where((row < last)[:, None].to(voice.silence.device), voice.rows(row.clamp(max=last - 1)), voice.silence)

    return torch.lerp(heard(before), heard(after), fraction)


def frames_of_voice(voice: Voice, fps: float) -> int:
    """How many video frames lie within a voice."""
    return int((len(voice) - 1) * fps / voice.rate) + 1


def latent_frame_windows(features: Tensor, frames: int | None = None, start: int = 0) -> Tensor:
    """A_t for each latent frame: the windows (W_a = 5) of the video frames that it holds.

    Latent frame i holds video frames 4i−3 … 4i, whose windows overlap: together they are the rows 4i−5 … 4i+2.
    Latent frame 0 holds video frame 0 alone, whose window is its last five rows. Rows before the first or after
    the last row of the features repeat that one. MultiTalk's projection takes the same rows.

    Args:
        features: [T, D], one row per video frame.
        frames: of the clip, 4n + 1; None for all T.
        start: row of the clip's first frame; the windows of a part of a longer voice reach beyond the part.

    Returns:
        [8, n + 1, D]: rows in time order, latent frames, features.

    Raises:
        ValueError: if the number of frames is not 4n + 1.
    """
    if frames is None:
        frames = features.shape[0]
    if not fills_latent_frames(frames):
        raise ValueError(f"the audio features cover {frames} frames; use a clip length of 4n + 1 frames.")
    last_row = start + FRAMES_PER_LATENT * torch.arange(latent_frames(frames)) + AUDIO_WINDOW // 2
    offset = torch.arange(1 - AUDIO_ROWS, 1)
    rows = (last_row + offset[:, None]).clamp(0, features.shape[0] - 1)
    return features[rows.to(features.device)]


def voice_windows(voice: Voice, frames: int, fps: float, start: int = 0) -> Tensor:
    """A_t of a clip, float32 [8, n + 1, D]: of `frames` (4n + 1) video frames from frame `start` of the voice on. The last
    windows reach past the clip where the voice goes on.
    """
    end = start + frames
    end = max(end, min(end + AUDIO_WINDOW // 2, frames_of_voice(voice, fps)))
    first = max(start - AUDIO_ROWS + AUDIO_WINDOW // 2 + 1, 0)  # what the first window reaches back to
    return latent_frame_windows(features_at_video_rate(voice, end - first, fps, first), frames, start - first)
