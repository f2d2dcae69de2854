"""Co-speech motion: a voice and a speaker become the motion of arms, hands and head, without a picture.

The voice's accents and phrases decide when and how strongly; the `Speaker` decides which hand, which shape, where to and
how early. `hear` a voice, `perform` it, and read the `BodyTrack`, whose units are those of any body: arm lengths from
the shoulders and radians.
"""

from .accents import Accent, Phrase, Voice, find_accents, frame_loudness, hear, speech_level
from .freedom import pose_share
from .performance import BodyTrack, perform
from .plan import CLOSE, LOOSE, Bond, Gesture, plan_gestures
from .shapes import HAND, SHAPES
from .speaker import Speaker, random_speaker

__all__ = [
    "CLOSE",
    "HAND",
    "LOOSE",
    "SHAPES",
    "Accent",
    "BodyTrack",
    "Bond",
    "Gesture",
    "Phrase",
    "Speaker",
    "Voice",
    "find_accents",
    "frame_loudness",
    "hear",
    "perform",
    "plan_gestures",
    "pose_share",
    "random_speaker",
    "speech_level",
]
