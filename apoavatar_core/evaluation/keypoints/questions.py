"""What is asked: each question with its measure, the variants that it compares, and the answer that follows from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import variants as v
from .columns import MEASURES, Measure
from .statistics import LEVEL, Difference, holm, paired_difference, seeds_needed
from .variants import Variant

FEWEST_SEEDS, MOST_SEEDS = 20, 40
"""Bounds of what the power calculation asks for: the fewer are wanted in any case, the more are what an hour holds."""

Results = Mapping[str, Sequence[Mapping[str, float]]]
"""The measures of each variant (by its key) in one world, one mapping per seed."""


@dataclass(frozen=True)
class Question:
    """text: what is asked; measure: a key of `MEASURES`; pairs: the first of each is asked to be better than the second."""

    text: str
    measure: str
    pairs: tuple[tuple[Variant, Variant], ...]

    @property
    def measured(self) -> Measure:
        return MEASURES[self.measure]


@dataclass(frozen=True)
class Answer:
    """One pair of a question: first − second, p corrected for all comparisons, and what follows."""

    question: Question
    first: Variant
    second: Variant
    difference: Difference
    corrected: float

    @property
    def verdict(self) -> str:
        """ "better" or "worse", "the same" where no difference is worth noticing, or "undecided"; for all comparisons
        together.
        """
        measured, found = self.question.measured, self.difference
        if self.corrected < LEVEL:
            return "better" if found.mean * measured.better > 0 else "worse"
        return "the same" if found.within(measured.worth, LEVEL / COMPARISONS) else "undecided"


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
COMPARISONS = sum(len(question.pairs) for question in QUESTIONS)


def answers(results: Results) -> list[Answer]:
    """The answers of all questions, in their order."""
    asked = [(question, *pair) for question in QUESTIONS for pair in question.pairs]
    found = [difference_of(question.measure, first, second, results) for question, first, second in asked]
    corrected = holm([difference.p for difference in found])
    return [Answer(*ask, difference, p) for ask, difference, p in zip(asked, found, corrected)]


def difference_of(measure: str, first: Variant, second: Variant, results: Results) -> Difference:
    return paired_difference(*([run[measure] for run in results[variant.key]] for variant in (first, second)))


def seeds_for(answer: Answer) -> int:
    """How many seeds it takes to see a difference that is worth noticing, as far as these seeds tell its deviation."""
    return seeds_needed(answer.question.measured.worth, answer.difference.deviation, COMPARISONS, MOST_SEEDS + 1)


def seeds_wanted(pilot: Results) -> int:
    """What the most demanding comparison asks for, within bounds."""
    return min(max(FEWEST_SEEDS, *map(seeds_for, answers(pilot))), MOST_SEEDS)
