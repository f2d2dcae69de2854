"""What is asked of the keypoints: each question with its measure and the variants that it compares."""

from __future__ import annotations

from .. import variants as v
from ..questions import MOST_SEEDS, Question, Results, answers_to, comparisons_of
from .columns import MEASURES

FEWEST_SEEDS = 20
"""So many are wanted in any case; `MOST_SEEDS` are what an hour holds."""

QUESTIONS = (
    Question(
        "Does refocusing make pose-free gestures follow the voice better?",
        "free_hand_r",
        ((v.REFOCUSING, v.NONE), (v.REFOCUSING, v.CLIP), (v.REFOCUSING, v.TEMPORAL), (v.TEMPORAL, v.CLIP)),
    ),
    Question(
        "Is the voice worth more to pose-free hands after refocusing?",
        "free_worth",
        ((v.REFOCUSING, v.NONE), (v.REFOCUSING, v.CLIP), (v.REFOCUSING, v.TEMPORAL)),
    ),
    Question(
        "Is it the voice's own loudness that does it?",
        "free_hand_r",
        ((v.REFOCUSING, v.SHUFFLED), (v.REFOCUSING, v.INVERTED), (v.REFOCUSING, v.ANOTHER)),
    ),
    Question(
        "Does a pose that does not fit the voice stay a pose that is followed?",
        "misfit_distance",
        ((v.REFOCUSING, v.CLIP), (v.REFOCUSING, v.TEMPORAL)),
    ),
    Question(
        "Does the mouth stay with the voice under such a pose?",
        "misfit_mouth_r",
        ((v.REFOCUSING, v.NONE), (v.REFOCUSING, v.CLIP), (v.REFOCUSING, v.TEMPORAL)),
    ),
    Question(
        "Does refocusing make refocused inference possible: is a pose under the soft gate followed where the gate is open?",
        "borrowed_open",
        ((v.REFOCUSING, v.CLIP), (v.REFOCUSING, v.TEMPORAL), (v.REFOCUSING, v.SHUFFLED)),
    ),
    Question(
        "Do the hands follow the voice under another clip's pose, refocused?",
        "borrowed_hand_r",
        ((v.REFOCUSING, v.CLIP), (v.REFOCUSING, v.TEMPORAL), (v.REFOCUSING, v.SHUFFLED)),
    ),
    Question(
        "Does hearing frame by frame keep the mouth with the voice?",
        "free_mouth_r",
        ((v.FRAME_WISE, v.CLIP_WISE), (v.BOTH, v.AUDIO_DIT)),
    ),
    Question(
        "Does the interaction help to tell which hand, where a refocused pose is given?",
        "refocused_side",
        ((v.BOTH, v.FRAME_WISE), (v.BOTH, v.NO_PLACES), (v.AUDIO_DIT, v.CLIP_WISE)),
    ),
    Question(
        "Does it help to follow a pose that is given in every frame?",
        "hard_distance",
        ((v.BOTH, v.FRAME_WISE), (v.BOTH, v.NO_PLACES)),
    ),
)
COMPARISONS = comparisons_of(QUESTIONS)


def seeds_wanted(pilot: Results) -> int:
    """What the most demanding comparison asks for, within bounds."""
    return min(max(FEWEST_SEEDS, *(answer.seeds_needed for answer in answers_to(QUESTIONS, MEASURES, pilot))), MOST_SEEDS)
