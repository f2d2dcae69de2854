"""Which of the three kinds of clips a folder holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from .clips import ClipBank, ClipFormat, StoredClip, seeds_in
from .films import SUFFIX, VideoFolder
from .shards import SHARD_SUFFIX, ShardFolder


class Source(Protocol):
    """Clips of one format, by name; load them in the order of their names."""

    format: ClipFormat

    def names(self) -> list[str]: ...

    def load(self, name: str) -> StoredClip: ...


def source_in(folder: Path, **asked: float | None) -> Source:
    """The clips of a folder.

    Args:
        asked: fields of `ClipFormat`; films are cut to them, drawn clips must have them. None is not asked.

    Raises:
        ValueError: the folder holds no clips, or drawn ones of another format.
    """
    asked = {name: value for name, value in asked.items() if value is not None}
    if seeds_in(folder):
        bank = ClipBank(folder)
        wanted = replace(bank.format, **asked)
        if wanted != bank.format:
            raise ValueError(f"{folder} holds clips of {bank.format}, not {wanted}: draw them as you want them")
        return bank
    format = ClipFormat(**asked)
    for suffix, kind in ((SUFFIX, VideoFolder), (SHARD_SUFFIX, ShardFolder)):
        if any(folder.glob(f"*{suffix}")):
            return kind(folder, format)
    raise ValueError(f"{folder} holds no synthetic clips, no {SUFFIX} films and no {SHARD_SUFFIX} shards of them")
