"""One writer for a folder at a time, in this process and among all that run on the machine."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if os.name == "nt":
    import msvcrt
else:
    import fcntl

BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""What a system says when somebody else holds a lock; anything else means that the file system knows no locks."""

_held: set[str] = set()
_guard = threading.Lock()


class InUse(ValueError):
    """Somebody else holds the lock.

    Attributes:
        holder: who, in words.
    """

    def __init__(self, path: Path, process: int | None):
        self.holder = "another process" if process is None else f"process {process}"
        super().__init__(f"{path} is held by {self.holder}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file during the block; it is made when missing, with its folder, and says which process holds it.

    The system lets go of the lock when its process ends, however it ends, so a file that was left behind locks nobody
    out. On file systems without locks only this process keeps itself out.

    Raises:
        InUse: it is held, by another process or elsewhere in this one.
    """
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    name = os.path.realpath(path)
    with _guard:
        if name in _held:
            raise InUse(path, os.getpid())
        _held.add(name)
    try:
        with _opened(path):
            yield
    finally:
        _held.discard(name)


@contextmanager
def _opened(path: Path) -> Iterator[None]:
    """The file, open and locked. A file that was removed before it could be locked is left for the one at its place."""
    while True:
        with path.open("a+b") as file:
            try:
                _lock(file.fileno())
            except OSError as error:
                if error.errno in BUSY:
                    raise InUse(path, _process_in(path)) from None
            if not _is_at(path, file.fileno()):
                continue
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()).encode())
            file.flush()
            yield
            return


def _lock(number: int) -> None:
    if os.name == "nt":
        # Beyond the text, which others may read while it is locked.
        os.lseek(number, 1 << 20, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
    else:
        # Of this process alone: a lock by flock would live on in the processes that it started.
        fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(path: Path, number: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(number))
    except FileNotFoundError:
        return False


def _process_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
