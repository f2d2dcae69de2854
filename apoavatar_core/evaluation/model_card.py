"""The table of `docs/model_card.md`, made of a report of `python -m apoavatar_core.evaluation presenter --json FILE`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..files import write_whole
from .verdicts import MEASURES, number, verdict

BEGIN, END = "<!-- measures: written by `python workflows/make_all.py` -->", "<!-- end of measures -->"
HEAD = ("measure", "generated", "95 % interval", "drawn clips", "target")


def write_card(path: Path, report: Mapping) -> None:
    """Put the table between its marks, which no reader sees.

    Raises:
        ValueError: the page has no marks, or the report lacks measures.
    """
    page = path.read_text(encoding="utf-8")
    if BEGIN not in page or END not in page:
        raise ValueError(f"{path} has no place for the table: put the lines {BEGIN} and {END} into it.")
    before, after = page[: page.index(BEGIN)], page[page.index(END) :]
    write_whole(path, f"{before}{BEGIN}\n\n{card(report)}\n\n{after}")


def card(report: Mapping) -> str:
    """The table in Markdown, a row for each of MEASURES.

    Raises:
        ValueError: the report lacks some, as another version of the pack has written it.
    """
    measures = report.get("measures", {})
    if missing := sorted(MEASURES.keys() - measures.keys()):
        raise ValueError(f"The report lacks {', '.join(missing)}: make it anew with `evaluation presenter --json FILE`.")
    lines = [f"Over {report['clips']} held-out clips:", "", row(HEAD), row(["---"] * len(HEAD))]
    for name, measure in MEASURES.items():
        found, digits = measures[name], measure.digits
        low, high = (number(end, max(digits, 1)) for end in found["interval"])
        wanted = f"{found['target']}, {verdict(found).lower()}" if found["target"] else ""
        wanted = wanted.replace("missed", "**missed**").replace("|·| ", "")  # a bar would begin a cell
        value, drawn = (number(found[which], digits) for which in ("value", "drawn"))
        lines.append(row((measure.title, value, f"{low} … {high}", drawn, wanted)))
    return "\n".join(lines)


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
