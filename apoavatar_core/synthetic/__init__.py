"""A procedural cartoon presenter that speaks and gestures with a synthetic voice.

`synthesize_clip(seed)` makes a whole training clip; its stages can be called one by one:
`sample_identity`, `synthesize_speech`, `speech_motion`, `draw_frame`, `frame_keypoints`.
"""

from .caption import describe, facts_told
from .clip import Clip, Performance, draw_clip, synthesize_clip, synthesize_performance
from .drawing import draw_background, draw_frame
from .identity import Identity, sample_identity
from .motion import Motion, speech_motion
from .speech import HELD_OUT_VOICES, TRAINING_VOICES, synthesize_speech
from .true_pose import frame_keypoints

__all__ = [
    "HELD_OUT_VOICES",
    "TRAINING_VOICES",
    "Clip",
    "Identity",
    "Motion",
    "Performance",
    "describe",
    "draw_background",
    "draw_clip",
    "draw_frame",
    "facts_told",
    "frame_keypoints",
    "sample_identity",
    "speech_motion",
    "synthesize_clip",
    "synthesize_performance",
    "synthesize_speech",
]
