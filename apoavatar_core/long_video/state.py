"""What is written about a film that is not finished: which windows are done, in which files, made from what."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from ..files import sync_folder, write_whole
from ..settings import Count, NotNegative, Settings, WholeNumber

VERSION = 1
"""Grows when the meaning of a field changes."""
STATE = "state.json"


class KeptFile(Settings):
    """A file beside the state, and what tells whether it is still as it was written.

    Attributes:
        name: no path, for a state is a file that anybody may have written.
        size: bytes.
        sha256: of its content.
    """

    name: Annotated[str, Field(pattern=r"^\d{6,}\.(mp4|safetensors)$")]
    size: WholeNumber
    sha256: str

    @classmethod
    def of(cls, path: Path) -> KeptFile:
        return cls(name=path.name, size=path.stat().st_size, sha256=_sha256(path))

    def is_whole_in(self, folder: Path) -> bool:
        path = folder / self.name
        return path.is_file() and path.stat().st_size == self.size and _sha256(path) == self.sha256


class KeptWindow(Settings):
    """A finished window: how many frames of the film it added, and the segment that holds them."""

    frames: Count
    segment: KeptFile


class State(Settings):
    """One moment of a film.

    Attributes:
        key: `stable_hash` of everything that the film follows from.
        settings: the same in words, by name, for people.
        windows: those that are finished, in order.
        carried: the tensors that the next window goes on from; None where it needs none.
        begun, changed: seconds since 1970.
    """

    version: int = VERSION
    key: str
    settings: dict[str, str]
    windows: tuple[KeptWindow, ...] = ()
    carried: KeptFile | None = None
    begun: NotNegative
    changed: NotNegative

    @property
    def frames(self) -> int:
        """Of the film so far."""
        return sum(window.frames for window in self.windows)

    @property
    def files(self) -> list[KeptFile]:
        """All that the state names."""
        return [window.segment for window in self.windows] + ([self.carried] if self.carried else [])


def write_state(folder: Path, state: State) -> None:
    """Let the folder's state be this one, on the disk, at once: before the files that it no longer names are removed and
    after those that it names are written.
    """
    write_whole(folder / STATE, state.model_dump_json(indent=1))
    sync_folder(folder)


def read_state(folder: Path) -> State:
    """The folder's state; whether its files are whole is not looked at.

    Raises:
        FileNotFoundError: it has none.
        ValueError: it cannot be read, or another version of the pack wrote it.
    """
    content = (folder / STATE).read_bytes()
    try:
        state = State.model_validate_json(content)
    except ValidationError:
        raise ValueError("its state cannot be read") from None
    if state.version != VERSION:
        raise ValueError(f"another version of the pack wrote its state (version {state.version}, here {VERSION})")
    return state


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()
