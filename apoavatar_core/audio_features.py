"""Audio windows A_t (§3.3): encoder features at 50 Hz → one row per video frame → eight rows per latent frame."""

import numpy as np
import torch
from torch import Tensor

from .grid import AUDIO_RATE, AUDIO_ROWS, AUDIO_WINDOW, FRAMES_PER_LATENT, fills_latent_frames, latent_frames
from .waveform import SAMPLE_RATE, check_fps, mono_16k


class LogMelEncoder:
    """A log-mel spectrogram in the place of an audio encoder model: no weights, forty numbers per 20 ms.

    It has the interface of ComfyUI's AudioEncoderModel. The level is made relative to the clip's own loud frames,
    so a quiet recording and a loud one look alike. Silence is −1 and loud speech is near +1, which leaves the
    all-zero features of Eq. 8's null audio distinct from silence.
    """

    name = "log_mel_40"
    feature_dim = 40
    layers = 1
    model_sample_rate = SAMPLE_RATE

    HOP = SAMPLE_RATE // AUDIO_RATE
    FFT = 1024
    LOWEST_HZ = 60.0
    HIGHEST_HZ = 7600.0
    LOUD_PERCENTILE = 95.0
    QUIET_DBFS = -50.0
    """Frames below this level are taken for room noise: they neither set the clip's level nor leave a trace."""
    REFERENCE_FLOOR_DBFS = -40.0
    """A clip is amplified as if its loud frames had at least this level."""
    SILENCE_DB = -60.0
    """Band level, relative to the clip's loud frames, that becomes −1."""
    LOUD_DB = -5.0
    """Band level, relative to the clip's loud frames, that becomes +1."""
    HIGHEST_VALUE = 1.5

    def encode_audio(self, audio: Tensor, sample_rate: float) -> dict:
        """Features of one clip; row n is centred at n / 50 s. A last row of silence follows the sound, so that a video
        that outlasts it goes on in silence instead of holding the last vowel.

        Args:
            audio: [1, C, S], [C, S] or [S].
            sample_rate: Hz.

        Returns:
            "encoded_audio": float32 [1, N, 40] in [−1, 1.5] on the CPU, N = 2 + S₁₆ₖ // 320;
            "encoded_audio_all_layers": the list of that one tensor;
            "audio_samples": S₁₆ₖ, the samples at 16 kHz.

        Raises:
            ValueError: if the sound is unusable.
        """
        samples = torch.from_numpy(mono_16k(audio, sample_rate))
        sound = self._scaled(self._power(samples))
        features = torch.cat([sound, sound.new_full((1, self.feature_dim), -1.0)])[None]
        return {
            "encoded_audio": features,
            "encoded_audio_all_layers": [features],
            "audio_samples": samples.shape[0],
        }

    def _power(self, samples: Tensor) -> Tensor:
        """Mean square of each spectral bin, [N, FFT/2 + 1]; a row sums to the mean square of its frame (Parseval)."""
        window = torch.hann_window(self.FFT)
        spectrum = torch.stft(
            samples, self.FFT, self.HOP, window=window, center=True, pad_mode="constant", return_complex=True
        )
        power = spectrum.abs().square() * (2 / (self.FFT * window.square().sum()))
        power[0] /= 2
        power[-1] /= 2
        return power.T

    def _scaled(self, power: Tensor) -> Tensor:
        """Bin powers [N, FFT/2 + 1] → features [N, 40]."""
        quiet = 10 ** (self.QUIET_DBFS / 10)
        frame_power = power.sum(dim=1)
        reference = 10 ** (self.REFERENCE_FLOOR_DBFS / 10)
        # The pauses of the clip and the silence it was padded with say nothing about how loud the voice is.
        voiced = frame_power[frame_power > quiet].sqrt().numpy()
        if len(voiced):
            reference = max(reference, float(np.percentile(voiced, self.LOUD_PERCENTILE)) ** 2)

        filters = self._mel_filters()
        # The share of QUIET_DBFS that white noise of that level would put into each band.
        room_noise = quiet * filters.sum(dim=1) / power.shape[1]
        bands = (power @ filters.T - room_noise).clamp(min=0) / reference
        level = 10 * torch.log10(bands.clamp(min=10 ** (self.SILENCE_DB / 10)))
        features = 2 * (level - self.SILENCE_DB) / (self.LOUD_DB - self.SILENCE_DB) - 1
        return features.clamp(-1.0, self.HIGHEST_VALUE).float()

    def _mel_filters(self) -> Tensor:
        """Triangles that overlap to 1, [40, FFT/2 + 1]: a band's value is its share of the frame's power."""
        import librosa

        return torch.from_numpy(
            librosa.filters.mel(
                sr=SAMPLE_RATE, n_fft=self.FFT, n_mels=self.feature_dim,
                fmin=self.LOWEST_HZ, fmax=self.HIGHEST_HZ, norm=None,
            )
        )  # fmt: skip


def features_at_video_rate(encoder_output: dict, frames: int, fps: float) -> Tensor:
    """Encoder features at the times t / fps of the video frames, linearly interpolated.

    Every transformer layer of the encoder is there, the first layer's d values first; reshape to
    [frames, layers, d] for MultiTalk's projection. wav2vec2 and Whisper list their input embedding before the
    layers, and it is left out, as ComfyUI's InfiniteTalk node does; an encoder that lists one tensor keeps it.
    Frames past the end of the voice hear silence: of LogMelEncoder its last row, which is silence; of other encoders
    their first, which most likely is, as ComfyUI's InfiniteTalk node takes it.

    Args:
        encoder_output: what an audio encoder's encode_audio returned, [1, N, d] per layer at 50 Hz.
        frames: T ≥ 1.
        fps: video frames per second.

    Returns:
        float32 [T, layers · d].
    """
    if frames < 1:
        raise ValueError(f"frames is {frames}; ask for at least 1 video frame.")
    check_fps(fps)
    layers = list(encoder_output["encoded_audio_all_layers"])
    if layers[0].shape[0] != 1:
        raise ValueError(f"audio features hold {layers[0].shape[0]} clips; pass one clip at a time.")
    features = torch.cat(layers[1:] or layers, dim=-1)[0].float()
    silence = features[:1] if len(layers) > 1 else features[-1:]
    features = torch.cat([features, silence])

    last = features.shape[0] - 1
    position = (torch.arange(frames, dtype=torch.float64) * (AUDIO_RATE / fps)).clamp(max=last)
    before = position.floor().long()
    after = (before + 1).clamp(max=last)
    fraction = (position - before)[:, None].to(features)
    return torch.lerp(features[before.to(features.device)], features[after.to(features.device)], fraction)


def frames_of_voice(encoder_output: dict, fps: float) -> int:
    """How many video frames lie within the voice that an audio encoder's encode_audio returned."""
    rows = encoder_output["encoded_audio_all_layers"][0].shape[1]
    return int((rows - 1) * fps / AUDIO_RATE) + 1


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
