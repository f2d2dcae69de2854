"""The tiny preset's audio encoder: a log-mel spectrogram, forty numbers every 20 ms."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .grid import AUDIO_RATE
from .hearing import heard_voice
from .waveform import SAMPLE_RATE


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
    FRAMES_AT_ONCE = 1000
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
            "audio_samples": S₁₆ₖ, the samples at 16 kHz;
            "encoder": its name, by which `voice_of` knows how to read the others.

        Raises:
            ValueError: if the sound is unusable.
        """
        samples = torch.from_numpy(heard_voice(audio, sample_rate).samples)
        sound = self._scaled(*self._powers(samples))
        features = torch.cat([sound, sound.new_full((1, self.feature_dim), -1.0)])[None]
        return {
            "encoded_audio": features,
            "encoded_audio_all_layers": [features],
            "audio_samples": samples.shape[0],
            "encoder": self.name,
        }

    def _powers(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Mean square of each frame, [N], and of its bands, [N, 40]. The spectra of an hour at once would fill a gigabyte."""
        window, filters = torch.hann_window(self.FFT), self._mel_filters()
        waves = functional.pad(samples, (self.FFT // 2, self.FFT // 2)).unfold(0, self.FFT, self.HOP)
        whole, bands = [], []
        for piece in waves.split(self.FRAMES_AT_ONCE):
            power = torch.fft.rfft(piece * window).abs().square() * (2 / (self.FFT * window.square().sum()))
            power[:, [0, -1]] /= 2
            # A frame's bins sum to its mean square (Parseval).
            whole.append(power.sum(dim=1))
            bands.append(power @ filters.T)
        return torch.cat(whole), torch.cat(bands)

    def _scaled(self, frame_power: Tensor, band_power: Tensor) -> Tensor:
        """Powers of frames and their bands → features [N, 40]."""
        quiet = 10 ** (self.QUIET_DBFS / 10)
        reference = 10 ** (self.REFERENCE_FLOOR_DBFS / 10)
        # The pauses of the clip and the silence it was padded with say nothing about how loud the voice is.
        voiced = frame_power[frame_power > quiet].sqrt().numpy()
        if len(voiced):
            reference = max(reference, float(np.percentile(voiced, self.LOUD_PERCENTILE)) ** 2)

        # The share of QUIET_DBFS that white noise of that level would put into each band.
        room_noise = quiet * self._mel_filters().sum(dim=1) / (self.FFT // 2 + 1)
        bands = (band_power - room_noise).clamp(min=0) / reference
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
