"""What is asked of the variants' measures, and the answers that follow from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .statistics import LEVEL, Difference, holm, paired_difference, seeds_needed
from .variants import Variant

MOST_SEEDS = 40
"""What a power calculation asks for at most."""

Results = Mapping[str, Sequence[Mapping[str, float]]]
"""The measures of each variant (by its key), one mapping per seed."""


@dataclass(frozen=True)
class Measure:
    """What a measure is called, which way is better, and from what difference on anybody would care.

    title: of a column; better: +1 where more is better, −1 where less is, 0 where neither is and nothing is asked; worth: the
    smallest difference that anybody would care about; what: in a sentence.
    """

    title: str
    better: int
    worth: float
    what: str


@dataclass(frozen=True)
class Question:
    """text: what is asked; measure: the name of a measure; pairs: the first of each is asked to be better than the second."""

    text: str
    measure: str
    pairs: tuple[tuple[Variant, Variant], ...]


@dataclass(frozen=True)
class Answer:
    """One pair of a question: first − second, p corrected for all comparisons that were made with it, and what follows."""

    question: Question
    measured: Measure
    first: Variant
    second: Variant
    difference: Difference
    corrected: float
    comparisons: int

    @property
    def verdict(self) -> str:
        """ "better" or "worse", "the same" where no difference is worth noticing, or "undecided"; for all comparisons
        together.
        """
        measured, found = self.measured, self.difference
        if self.corrected < LEVEL:
            return "better" if found.mean * measured.better > 0 else "worse"
        return "the same" if found.within(measured.worth, LEVEL / self.comparisons) else "undecided"

    @property
    def seeds_needed(self) -> int:
        """How many seeds it takes to see a difference that is worth noticing, as far as these seeds tell its deviation; more than
        `MOST_SEEDS` where it takes more.
        """
        return seeds_needed(self.measured.worth, self.difference.deviation, self.comparisons, MOST_SEEDS + 1)


def comparisons_of(questions: Sequence[Question]) -> int:
    return sum(len(question.pairs) for question in questions)


def answers_to(questions: Sequence[Question], measures: Mapping[str, Measure], results: Results) -> list[Answer]:
    """The answers of all questions, in their order; measures: by their names."""
    asked = [(question, *pair) for question in questions for pair in question.pairs]
    found = [difference_of(question.measure, first, second, results) for question, first, second in asked]
    corrected = holm([difference.p for difference in found])
    return [
        Answer(question, measures[question.measure], *pair, difference, p, len(asked))
        for (question, *pair), difference, p in zip(asked, found, corrected)
    ]


def difference_of(measure: str, first: Variant, second: Variant, results: Results) -> Difference:
    return paired_difference(*([run[measure] for run in results[variant.key]] for variant in (first, second)))
