"""WebDataset shards: tar files in which a clip's film, caption and pose lie together as `key.mp4`, `key.txt` and
`key.pose.json`.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from .clips import StoredClip
from .films import SIDECARS, SUFFIX, VideoFolder

SHARD_SUFFIX = ".tar"
CLIP = "clip"
"""What a clip is called while it is unpacked; names from inside a shard are never used as paths."""


class ShardFolder:
    """The films in all shards of a folder, cut as `films`, a `VideoFolder` of the same folder, cuts its own."""

    def __init__(self, films: VideoFolder):
        self.films = films

    def names(self) -> list[str]:
        """`<shard>_<clip>_<piece>` of every piece. A shard that cannot be read counts as one, so that loading says why."""
        return [name for shard in sorted(self.films.folder.glob(f"*{SHARD_SUFFIX}")) for name in self._names_in(shard)]

    def _names_in(self, shard: Path) -> Iterator[str]:
        try:
            for number in range(len(clips_in(shard))):
                with self._unpacked(shard, number) as films:
                    yield from (f"{shard.stem}_{number:06d}_{name.rsplit('_', 1)[1]}" for name in films.names())
        except ValueError:
            yield f"{shard.stem}_000000_0000"

    def load(self, name: str) -> StoredClip:
        """One piece.

        Raises:
            ValueError: what about the shard, the film or its sidecars is unusable.
        """
        stem, number, piece = name.rsplit("_", 2)
        with self._unpacked(self.films.folder / f"{stem}{SHARD_SUFFIX}", int(number)) as films:
            try:
                return films.load(f"{CLIP}_{piece}")
            except ValueError as error:
                raise ValueError(f"{stem}{SHARD_SUFFIX}, clip {number}: {error}") from None

    @contextmanager
    def _unpacked(self, shard: Path, number: int) -> Iterator[VideoFolder]:
        """A folder with this clip of the shard alone, for a while."""
        members = clips_in(shard)[number]
        with tempfile.TemporaryDirectory() as folder, tarfile.open(shard) as tar:
            for suffix, member in members.items():
                (Path(folder) / f"{CLIP}{suffix}").write_bytes(tar.extractfile(member).read())
            yield replace(self.films, folder=Path(folder))


def clips_in(shard: Path) -> list[dict[str, tarfile.TarInfo]]:
    """The members of each clip that has a film, by their suffix, in the shard's order.

    Raises:
        ValueError: the shard cannot be read.
    """
    clips: dict[str, dict[str, tarfile.TarInfo]] = {}
    try:
        with tarfile.open(shard) as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                key, dot, suffix = path.name.partition(".")
                if member.isfile() and dot + suffix in (SUFFIX, *SIDECARS):
                    clips.setdefault(str(path.with_name(key)), {})[dot + suffix] = member
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ValueError(f"{shard.name} cannot be read ({error})") from None
    return [members for members in clips.values() if SUFFIX in members]
