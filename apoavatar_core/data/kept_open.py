"""Files that are read part by part, in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    def close(self) -> None: ...


Opened = TypeVar("Opened", bound=Closable)


class KeptOpen(Generic[Opened]):
    """Opens a path, and keeps it open until another one is asked for."""

    def __init__(self, open_path: Callable[[Path], Opened]):
        self.open_path, self.path, self.opened = open_path, None, None

    def __call__(self, path: Path) -> Opened:
        if path != self.path:
            if self.opened is not None:
                self.opened.close()
            self.path = self.opened = None
            self.opened = self.open_path(path)
            self.path = path
        return self.opened
