"""What measured numbers follow from, as a hash: they are made again when it changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

CORE = Path(__file__).resolve().parents[1]


def made_by(files: Iterable[Path], *settings: object) -> str:
    """Of weights, of settings and of the core's code."""
    digest = hashlib.sha256(repr(settings).encode())
    for path in [*files, *sorted(CORE.rglob("*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
