"""How many frames a clip has, in video frames and in latent frames.

The causal 3-D VAE codes frame 0 alone and then four video frames per latent frame, so a clip has T = 4n + 1
frames and n + 1 latent frames.
"""

TEMPORAL_STRIDE = 4
"""Video frames per latent frame, after the first."""


def latent_frames(frames: int) -> int:
    """Latent frames that hold `frames` video frames (≥ 1); a last group of fewer than four is not held."""
    _require_a_frame(frames)
    return (frames - 1) // TEMPORAL_STRIDE + 1


def round_to_clip_length(frames: int) -> int:
    """The 4n + 1 (≥ 1) nearest to `frames` (≥ 1); halfway between two goes up, so no sound is cut for a tie."""
    _require_a_frame(frames)
    return (frames + 1) // TEMPORAL_STRIDE * TEMPORAL_STRIDE + 1


def _require_a_frame(frames: int) -> None:
    if frames < 1:
        raise ValueError(f"frames is {frames}; ask for at least 1 frame.")
