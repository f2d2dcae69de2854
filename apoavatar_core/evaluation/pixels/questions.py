"""What is measured of films and predictions, and what is asked of it: each question with the variants that it compares."""

from __future__ import annotations

from .. import variants as v
from ..questions import Measure, Question, comparisons_of

MEASURES = {
    "mouth_r": Measure("mouth r", +1, 0.05, "correlation of mouth opening and speech envelope at a lag of at most one frame"),
    "mouth_lag_frames": Measure("mouth lag", 0, 0.5, "the best lag in frames"),
    "hand_r": Measure("hand r", +1, 0.1, "correlation of hand speed and loudness, smoothed"),
    "onset_frames": Measure(
        "onset", -1, 0.5, "frames from an accent of the voice to the nearest peak of hand speed, 12 when there is none"
    ),
    "quiet_motion": Measure(
        "quiet motion", -1, 0.1, "hand speed while the voice is quiet, percent of the frame's height per frame"
    ),
    "hkc": Measure("HKC", +1, 0.05, "confidence of hand keypoints, as the pack's keypoint network sees them"),
    "hkv": Measure("HKV", 0, 10, "variance of hand keypoints"),
    "identity_delta_e": Measure("identity ΔE", -1, 0.5, "colour difference of skin, hair and clothes from the portrait"),
    "frechet": Measure(
        "Fréchet", -1, 0.005,
        "distance of the keypoint network's features between generated and drawn clips; not comparable with published FVD",
    ),
    "mouth_loss": Measure("loss, mouth", -1, 0.01, "Eq. 1 round the mouth, by the voice alone"),
    "worth": Measure("worth of the voice", +1, 0.01, "how much higher that is with another clip's voice"),
    "free_loss": Measure("loss, free", -1, 0.005, "Eq. 1 of what moves, by the voice alone"),
    "hard_loss": Measure("loss, hard", -1, 0.005, "Eq. 1 of what moves, with the clip's own pose"),
    "refocused_loss": Measure("loss, refocused", -1, 0.005, "Eq. 1 of what moves, with its own pose under the soft gate"),
}  # fmt: skip
"""Films are made by portrait and voice alone."""

QUESTIONS = (
    Question(
        "Does refocusing make pose-free gestures follow the voice better?",
        "hand_r",
        ((v.REFOCUSING, v.NONE), (v.REFOCUSING, v.CLIP), (v.REFOCUSING, v.TEMPORAL)),
    ),
    Question(
        "Does it predict what moves better from the voice alone?",
        "free_loss",
        ((v.REFOCUSING, v.NONE), (v.REFOCUSING, v.CLIP), (v.REFOCUSING, v.TEMPORAL), (v.TEMPORAL, v.CLIP)),
    ),
    Question(
        "Are hands seen better?",
        "hkc",
        ((v.REFOCUSING, v.NONE), (v.REFOCUSING, v.CLIP), (v.REFOCUSING, v.TEMPORAL)),
    ),
    Question(
        "Does a pose that is given in every frame lose by it?",
        "hard_loss",
        ((v.REFOCUSING, v.CLIP), (v.REFOCUSING, v.TEMPORAL)),
    ),
    Question(
        "Does it make refocused inference possible?",
        "refocused_loss",
        ((v.REFOCUSING, v.CLIP), (v.REFOCUSING, v.TEMPORAL)),
    ),
    Question(
        "Is it the voice's own loudness that does it?",
        "refocused_loss",
        ((v.REFOCUSING, v.SHUFFLED), (v.REFOCUSING, v.INVERTED), (v.REFOCUSING, v.ANOTHER)),
    ),
    Question(
        "Does hearing frame by frame keep the mouth with the voice?",
        "mouth_r",
        ((v.FRAME_WISE, v.CLIP_WISE), (v.BOTH, v.AUDIO_DIT)),
    ),
    Question(
        "Does refining the audio predict the mouth better?",
        "mouth_loss",
        ((v.BOTH, v.FRAME_WISE), (v.BOTH, v.NO_PLACES), (v.AUDIO_DIT, v.CLIP_WISE)),
    ),
    Question(
        "Does it help where a pose is given?",
        "hard_loss",
        ((v.BOTH, v.FRAME_WISE), (v.BOTH, v.NO_PLACES)),
    ),
)
COMPARISONS = comparisons_of(QUESTIONS)
