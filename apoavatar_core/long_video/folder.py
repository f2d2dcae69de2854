"""A film that is being made, in a folder of its own, so that nothing of it is lost however its making ends.

A finished window is a segment and the tensors that the next window goes on from. Both are on the disk under their names
before the state names them, and the state changes from one to the next in one step; what it does not name is left over
from a window that was never finished, and is removed when the film is opened again.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from torch import Tensor

from ..checkpoints.safe_file import read_tensors, write_tensors
from ..files import sync_folder
from ..locks import InUse, locked
from .segments import Encoding, Sound, join, write_segment
from .state import STATE, KeptFile, KeptWindow, State, read_state, write_state

LOCK = "lock"
KEY_DIGITS = 16
"""Of the key, in a folder's name."""


class FilmFolder:
    """An unfinished film, opened by `open_film`; nobody else writes to it meanwhile.

    Attributes:
        path: the folder.
        said: sentences for the user: that the film goes on, or why it begins anew.
    """

    def __init__(self, path: Path, state: State, said: Sequence[str]):
        self.path, self.said, self._state = path, list(said), state

    @property
    def position(self) -> int:
        """How many windows are finished; the index of the next."""
        return len(self._state.windows)

    @property
    def frames(self) -> int:
        """Of the film so far."""
        return self._state.frames

    @property
    def segments(self) -> list[Path]:
        """The finished parts, in order; each plays by itself."""
        return [self.path / window.segment.name for window in self._state.windows]

    def carried(self) -> dict[str, Tensor]:
        """What the last finished window left for the next, by name, on the CPU; empty before the first."""
        return read_tensors(self.path / self._state.carried.name) if self._state.carried else {}

    def keep(self, frames: Tensor, encoding: Encoding, carried: dict[str, Tensor]) -> None:
        """Take a finished window over; when this returns, no power cut can undo it, and until then it never was.

        Args:
            frames: those that the film did not have yet, [T, H, W, 3], float 0 … 1 or uint8.
            encoding: the same for every window of the film.
            carried: what the next window goes on from, on any device.

        Raises:
            ValueError: frames that make no film.
            OSError: the disk is full or fails; the film stays as it was.
        """
        number, kept = self.position, None
        with self._writing():
            segment = self.path / f"{number:06d}.mp4"
            write_segment(segment, frames, encoding)
            if carried:
                tensors = self.path / f"{number:06d}.safetensors"
                write_tensors(tensors, carried, {})
                kept = KeptFile.of(tensors)
            sync_folder(self.path)
            window = KeptWindow(frames=len(frames), segment=KeptFile.of(segment))
            windows = (*self._state.windows, window)
            state = self._state.model_copy(update={"windows": windows, "carried": kept, "changed": time.time()})
            write_state(self.path, state)
        before, self._state = self._state.carried, state
        if before:
            (self.path / before.name).unlink(missing_ok=True)

    def join(self, path: Path, rate: Fraction, sound: Sound | None = None) -> int:
        """Write what is finished as one film with its sound; see `segments.join`.

        Raises:
            ValueError: nothing is finished.
            OSError: the disk is full or fails; the windows stay.
        """
        with self._writing():
            return join(self.segments, path, rate, sound)

    def finish(self) -> None:
        """Remove the folder, and the one that held it if that is empty now: the film is where it belongs."""
        _clear(self.path, keep={LOCK})
        shutil.rmtree(self.path, ignore_errors=True)  # a system that does not remove open files leaves an empty lock
        with suppress(OSError):
            self.path.parent.rmdir()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, av.error.FFmpegError) as error:
            raise OSError(
                f"The film cannot be written ({getattr(error, 'strerror', None) or error}): free some space on the disk and "
                f"queue again, and it goes on after the {self.position} windows that are finished in {self.path}."
            ) from error


@contextmanager
def open_film(root: Path, name: str, key: str, settings: dict[str, str]) -> Iterator[FilmFolder]:
    """The film of these inputs, gone on with where it was left, or begun; nobody else can open it during the block.

    Args:
        root: where unfinished films are kept. Not ComfyUI's temp folder, which is emptied whenever the server starts.
        name: of the kind of film, such as the node's: letters, digits, "-" and "_".
        key: `hashing.stable_hash` of everything that the film follows from.
        settings: the same in words, by name, so that a user sees what an unfinished film was made from and what differs.

    Raises:
        ValueError: another job is making this film.
        OSError: the folder cannot be written to.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"The film's name is {name!r}: use letters, digits, - and _.")
    path = Path(root) / f"{name}_{key[:KEY_DIGITS]}"
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path / LOCK))
        except InUse as error:
            raise ValueError(f"The film in {path} is being made by {error.holder}: wait for that job, or cancel it.") from None
        state, said = _goes_on(path, key)
        if state is None:
            said += _differs(Path(root), name, key, settings)
            state = State(key=key, settings=settings, begun=time.time(), changed=time.time())
            _clear(path, keep={LOCK})
            write_state(path, state)
            sync_folder(path.parent)
        _clear(path, keep={LOCK, STATE} | {file.name for file in state.files})
        yield FilmFolder(path, state, said)


def _goes_on(path: Path, key: str) -> tuple[State | None, list[str]]:
    """The state to go on from, or None; and what there is to say about it."""
    try:
        state = read_state(path)
    except FileNotFoundError:
        return None, []
    except ValueError as error:
        return None, [f"The unfinished film in {path} cannot be gone on with, for {error}: it begins anew."]
    damaged = [file.name for file in state.files if not file.is_whole_in(path)]
    if damaged or state.key != key:
        reason = f"{damaged[0]} is damaged" if damaged else "it was made from other inputs"
        return None, [f"The unfinished film in {path} cannot be gone on with, for {reason}: it begins anew."]
    if not state.windows:
        return state, []
    return state, [f"The film goes on after its {len(state.windows)} finished windows ({state.frames} frames) in {path}."]


def _differs(root: Path, name: str, key: str, settings: dict[str, str]) -> list[str]:
    """What the new film has that the newest unfinished one of its kind had not."""
    others = [film for film in resumable(root) if film.state and film.path.name.rpartition("_")[0] == name]
    others = [film for film in others if film.state.windows and film.state.key != key]
    if not others:
        return []
    newest = max(others, key=lambda film: film.state.changed)
    before = newest.state.settings
    changes = [
        f"{setting} is {settings.get(setting, 'not set')} and was {before.get(setting, 'not set')}"
        for setting in [*settings, *(before.keys() - settings.keys())]
        if settings.get(setting) != before.get(setting)
    ]
    return [
        f"A new film begins, for {', '.join(changes) or 'an input changed'}; the unfinished one of before "
        f"({newest.described()}) stays in {newest.path}."
    ]


@dataclass(frozen=True)
class Unfinished:
    """A film that was begun.

    Attributes:
        path: its folder.
        state: None where it is damaged.
        size: bytes on the disk.
        age: seconds since its last window was finished.
    """

    path: Path
    state: State | None
    size: int
    age: float

    def described(self) -> str:
        windows = f"{len(self.state.windows)} windows, {self.state.frames} frames" if self.state else "damaged"
        return f"{windows}, {self.size / 2**20:.1f} MiB, {_in_words(self.age)} old"


def resumable(root: Path) -> list[Unfinished]:
    """The unfinished films under a root, the newest first; their files are not read."""
    folders = [path for path in Path(root).glob("*_*/") if not path.is_symlink() and _is_film(path)]
    return sorted((_unfinished(path) for path in folders), key=lambda film: film.age)


def remove(root: Path, name: str) -> None:
    """Remove the unfinished film whose folder has this name.

    Raises:
        ValueError: there is none under this root, or a job is making it.
    """
    film = next((film for film in resumable(root) if film.path.name == name), None)
    if film is None:
        raise ValueError(f"{root} holds no unfinished film {name}: see the list of those that it holds.")
    try:
        with locked(film.path / LOCK):
            _clear(film.path, keep={LOCK})
            shutil.rmtree(film.path, ignore_errors=True)
    except InUse as error:
        raise ValueError(f"The film in {name} is being made by {error.holder}: cancel that job first.") from None


def _unfinished(path: Path) -> Unfinished:
    try:
        state = read_state(path)
    except (OSError, ValueError):
        state = None
    size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return Unfinished(path, state, size, max(0.0, time.time() - (state.changed if state else path.stat().st_mtime)))


def _is_film(path: Path) -> bool:
    return (path / STATE).is_file() or (path / LOCK).is_file()


def _clear(path: Path, keep: set[str]) -> None:
    """Remove a film's files but those named; the state first, so that none is left that names what is gone."""
    files = [file for file in path.iterdir() if file.is_file() and file.name not in keep]
    for file in sorted(files, key=lambda file: file.name != STATE):
        file.unlink()


def _in_words(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
