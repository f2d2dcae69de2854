"""Answers and measures as Markdown: sentences first, then tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from .questions import MOST_SEEDS, Answer, Measure, Results
from .statistics import Difference
from .variants import Variant

ARROWS = {+1: " ↑", -1: " ↓", 0: ""}
"""Which way is better."""


def sentences(found: Sequence[Answer]) -> str:
    """A line for each question, with an answer for each of its pairs."""
    lines = []
    for question, measured in dict.fromkeys((answer.question, answer.measured) for answer in found):
        said = "; ".join(sentence(answer) for answer in found if answer.question == question)
        lines.append(f"- **{question.text}** ({measured.title}) {said}.")
    return "\n".join(lines)


def sentence(answer: Answer) -> str:
    says = {"better": "better than", "worse": "worse than", "the same": "the same as", "undecided": "not told apart from"}
    return f"*{answer.first.key}* is **{says[answer.verdict]}** *{answer.second.key}* [{interval(answer.difference)}]"


def interval(difference: Difference) -> str:
    if not math.isfinite(difference.low):
        return f"{difference.mean:+.3f}, one seed"
    return f"{difference.mean:+.3f}, {difference.low:+.3f} … {difference.high:+.3f}"


def differences_table(found: Sequence[Answer]) -> str:
    lines = ["| measure | first | second | difference [95 %] | p, corrected | verdict | seeds needed |", "| --- " * 7 + "|"]
    for answer in found:
        needed = answer.seeds_needed if answer.difference.seeds > 1 else 0
        told = f"over {MOST_SEEDS}" if needed > MOST_SEEDS else str(needed) if needed else "–"
        lines.append(
            f"| {answer.measured.title} | {answer.first.key} | {answer.second.key} | {interval(answer.difference)} | "
            f"{answer.corrected:.3f} | {answer.verdict} | {told} |"
        )
    return "\n".join(lines)


def means_table(
    variants: Sequence[Variant],
    results: Results,
    measures: Mapping[str, Measure],
    beside: Mapping[str, Sequence[Mapping[str, float]]],
) -> str:
    """Mean ± deviation over the seeds of every measure; beside: of what else, by its title, where it has a meaning for them."""
    columns = {f"{variant.title} (`{variant.key}`)": results[variant.key] for variant in variants}
    columns |= {f"*{title}*": runs for title, runs in beside.items()}
    lines = ["| measure | " + " | ".join(columns) + " |", "| --- " * (1 + len(columns)) + "|"]
    for name, found in measures.items():
        cells = [spread([run[name] for run in runs]) if name in runs[0] else "" for runs in columns.values()]
        lines.append(f"| {found.title}{ARROWS[found.better]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def told(measures: Mapping[str, Measure]) -> str:
    """What each of them is, as a table."""
    lines = [f"| {found.title} | {found.what} | {found.worth:g} |" for found in measures.values()]
    return "\n".join(["| measure | what it is | worth noticing |", "| --- | --- | --- |", *lines])
