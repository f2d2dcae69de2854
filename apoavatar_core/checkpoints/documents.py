"""The parts of README and docs that say what is known of other people's files, written from `known_files`.

A part stands between two HTML comments, `<!-- known files: ... -->` and `<!-- end of known files -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..files import write_whole
from .known_files import KNOWN_FILES, KnownFile

ROOT = Path(__file__).resolve().parents[2]
PART = re.compile(r"(<!-- known files: [^>]*-->\n).*?(<!-- end of known files -->)", re.DOTALL)


def overview() -> str:
    """For the README: what a user needs before a download."""
    rows = [
        [f"`{file.name}`", f"`{file.folder}`", size(file), file.licence or "**unconfirmed**", file.repository]
        for file in KNOWN_FILES
    ]
    head = ["file, offered by ComfyUI when it is missing", "folder in `models/`", "size", "licence of the original"]
    return table([*head, "repository on Hugging Face"], rows) + "\n" + open_questions()


def details() -> str:
    """For the docs: what a user needs to check a download, and where each fact is from."""
    rows = [
        [
            f"[`{file.name}`]({file.page})",
            "unknown" if file.bytes is None else f"{file.bytes:,}",
            "unknown" if file.sha256 is None else f"`{file.sha256}`",
            f"[{file.licence or 'unconfirmed'}]({file.licence_source})",
        ]
        for file in KNOWN_FILES
    ]
    head = ["file, and its page at the stated revision", "bytes", "SHA-256", "licence, and its source"]
    return table(head, rows)


PARTS: dict[str, Callable[[], str]] = {"README.md": overview, "docs/checkpoints.md": details}


def size(file: KnownFile) -> str:
    """In GB of 10⁹ bytes, three digits."""
    return "unknown" if file.bytes is None else f"{file.bytes / 1e9:#.3g} GB"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown."""
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def open_questions() -> str:
    """A line for each file of which something is not known."""
    return "".join(
        f"- `{file.name}`: {' '.join(filter(None, [missing(file), file.unconfirmed]))}\n"
        for file in KNOWN_FILES
        if missing(file) or file.unconfirmed
    )


def missing(file: KnownFile) -> str:
    facts = {"size": file.bytes, "hash": file.sha256, "licence": file.licence}
    names = [name for name, fact in facts.items() if fact is None]
    return f"{', '.join(names)} unknown.".capitalize() if names else ""


def written(text: str, content: str) -> str:
    """The text of a document with its part replaced.

    Raises:
        ValueError: the document has not got exactly one part.
    """
    text, count = PART.subn(lambda part: f"{part[1]}\n{content}\n{part[2]}", text)
    if count != 1:
        raise ValueError(f"The document has {count} parts between comments of known files, not one.")
    return text


def write_documents(root: Path = ROOT) -> list[str]:
    """Bring every document up to date; the names of those that changed."""
    changed = []
    for name, part in PARTS.items():
        before = (root / name).read_text(encoding="utf-8")
        after = written(before, part())
        if after != before:
            write_whole(root / name, after)
            changed.append(name)
    return changed
