"""`docs/evidence.md` is made of parts that several commands write: each replaces its own and leaves the others as they are."""

from __future__ import annotations

from pathlib import Path

from ..files import write_whole

KEYPOINTS, PIXELS, PLAIN = PARTS = ("keypoints", "pixels", "plain")
HEAD = """# Evidence

What the paper says of its method, tried on drawn people whose voice, pose and colours are known: first in keypoints, where a
training is short enough to be repeated until the answer is sure, then in pixels, on the backbone that ships and on one that never met
an adapter.
"""


def write_part(path: Path, name: str, text: str) -> None:
    """Put the text of a part into the page, which is given what it lacks of the others' marks at its end."""
    page = path.read_text(encoding="utf-8") if path.exists() else HEAD
    for part in PARTS:
        if not all(mark in page for mark in marks(part)):
            page += "\n" + "\n".join(marks(part)) + "\n"
    begin, end = marks(name)
    before, after = page[: page.index(begin)], page[page.index(end) :]
    write_whole(path, f"{before}{begin}\n{text.strip()}\n{after}")


def marks(name: str) -> tuple[str, str]:
    """The lines, which no reader sees, around a part."""
    return f"<!-- {name}: written by `python -m apoavatar_core.evaluation ablate {name}` -->", f"<!-- end of {name} -->"
