"""The grid that sound, video, latents and tokens share: who covers whom, in both directions.

The causal 3-D VAE codes frame 0 alone and then four video frames per latent frame, so a clip has T = 4n + 1 frames and
n + 1 latent frames. Where a VAE or a backbone can differ (`PIXELS_PER_LATENT`, `LATENTS_PER_TOKEN`, `LATENT_CHANNELS`),
the value here is Wan 2.1's and the one of a loaded model is asked of it.
"""

FRAMES_PER_LATENT = 4
"""Video frames per latent frame, after the first."""
PIXELS_PER_LATENT = 8
"""In height and width."""
LATENTS_PER_TOKEN = 2
"""The DiT's patch, in height and width."""
LATENT_CHANNELS = 16
MASK_CHANNELS = FRAMES_PER_LATENT
"""Of the mask in Wan's image condition: one for every video frame of a latent frame."""
AUDIO_RATE = 50
"""Feature rows per second that audio encoders put out (wav2vec2, Whisper and LogMelEncoder alike)."""
AUDIO_WINDOW = 5
"""W_a: video frames whose features one video frame hears, itself in the middle."""
AUDIO_ROWS = FRAMES_PER_LATENT + AUDIO_WINDOW - 1
"""Feature rows that the overlapping windows of one latent frame's video frames cover together."""


def latent_frames(frames: int) -> int:
    """Latent frames that hold `frames` video frames (≥ 1); a last group of fewer than four is not held."""
    _require_a_frame(frames)
    return (frames - 1) // FRAMES_PER_LATENT + 1


def video_frames(latent_frames: int) -> int:
    """Video frames that so many latent frames (≥ 1) show: 4n + 1."""
    _require_a_frame(latent_frames)
    return FRAMES_PER_LATENT * (latent_frames - 1) + 1


def fills_latent_frames(frames: int) -> bool:
    """Whether a clip of so many video frames has no latent frame that is filled in part only."""
    return frames >= 1 and (frames - 1) % FRAMES_PER_LATENT == 0


def round_to_clip_length(frames: int) -> int:
    """The 4n + 1 (≥ 1) nearest to `frames` (≥ 1); halfway between two goes up, so no sound is cut for a tie."""
    _require_a_frame(frames)
    return (frames + 1) // FRAMES_PER_LATENT * FRAMES_PER_LATENT + 1


def _require_a_frame(frames: int) -> None:
    if frames < 1:
        raise ValueError(f"frames is {frames}; ask for at least 1 frame.")
