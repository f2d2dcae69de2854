"""How audio and video meet: the four rows of Table 5."""

from __future__ import annotations

from enum import Enum


class InteractionScheme(str, Enum):
    """CLIP_WISE: every video token may hear the whole clip. FRAME_WISE: its own frame (Eq. 7). AUDIO_DIT: the audio is
    refined by the video of its own frame (Eq. 5 and 6), then heard clip-wise. BOTH: refined and heard frame by frame,
    the paper's method.
    """

    CLIP_WISE = "clip_wise"
    FRAME_WISE = "frame_wise"
    AUDIO_DIT = "audio_dit"
    BOTH = "both"

    @property
    def refines_audio(self) -> bool:
        return self in (InteractionScheme.AUDIO_DIT, InteractionScheme.BOTH)

    @property
    def hears_own_frame_only(self) -> bool:
        return self in (InteractionScheme.FRAME_WISE, InteractionScheme.BOTH)
