"""WebDataset shards: tar files in which a clip's film, caption and pose lie together as `key.mp4`, `key.txt` and
`key.pose.json`.

A shard is opened once to list its clips and once to read them, and films are read where they lie in it. The `webdataset`
package reads shards as a stream, which can neither say how many pieces there are nor leave out those that are done.
"""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath

from .clips import ClipFormat, StoredClip
from .film import Film
from .films import SIDECARS, SUFFIX, pieces, read_piece
from .kept_open import KeptOpen

SHARD_SUFFIX = ".tar"


class Shard:
    """A tar that is open; names from inside it are never used as paths.

    Raises:
        ValueError: it cannot be read.
    """

    def __init__(self, path: Path):
        self.path, self._number, self._film = path, None, None
        try:
            self.tar = tarfile.open(path, "r:")
            self.clips = clips_in(self.tar)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ValueError(f"{path.name} cannot be read ({error})") from None

    def close(self) -> None:
        self._close_film()
        self.tar.close()

    def pieces(self, number: int, format: ClipFormat) -> int:
        """How many clips the film of this number is cut into."""
        return pieces(*self._source(number), format)

    def load(self, number: int, piece: int, format: ClipFormat) -> StoredClip:
        """One piece of the film of this number."""
        if number != self._number:
            self._close_film()
            self._number, self._film = number, Film(*self._source(number))
        members = self.clips[number]

        def sidecar(suffix: str) -> bytes | None:
            return self.tar.extractfile(members[suffix]).read() if suffix in members else None

        return read_piece(self._film, piece, format, sidecar)

    def _source(self, number: int):
        member = self.clips[number][SUFFIX]
        return self.tar.extractfile(member), PurePosixPath(member.name).name

    def _close_film(self) -> None:
        if self._film is not None:
            self._film.close()
        self._number = self._film = None


class ShardFolder:
    """The films in all shards of a folder, each cut into as many pieces as it holds. Load them in the order of `names`."""

    def __init__(self, folder: Path, format: ClipFormat):
        self.folder, self.format = folder, format
        self._shard = KeptOpen(Shard)

    def names(self) -> list[str]:
        """`<shard>_<clip>_<piece>` of every piece. A shard that cannot be read counts as one, so that loading says why."""
        return [name for path in sorted(self.folder.glob(f"*{SHARD_SUFFIX}")) for name in self._names_in(path)]

    def _names_in(self, path: Path) -> list[str]:
        try:
            shard = self._shard(path)
        except ValueError:
            return [f"{path.stem}_000000_0000"]
        return [
            f"{path.stem}_{number:06d}_{piece:04d}"
            for number in range(len(shard.clips))
            for piece in range(shard.pieces(number, self.format))
        ]

    def load(self, name: str) -> StoredClip:
        """One piece.

        Raises:
            ValueError: what about the shard, the film or its sidecars is unusable.
        """
        stem, number, piece = name.rsplit("_", 2)
        shard = self._shard(self.folder / f"{stem}{SHARD_SUFFIX}")
        try:
            return shard.load(int(number), int(piece), self.format)
        except ValueError as error:
            raise ValueError(f"{shard.path.name}, clip {number}: {error}") from None


def clips_in(tar: tarfile.TarFile) -> list[dict[str, tarfile.TarInfo]]:
    """The members of each clip that has a film, by their suffix, in the tar's order."""
    clips: dict[str, dict[str, tarfile.TarInfo]] = {}
    for member in tar:
        path = PurePosixPath(member.name)
        key, dot, suffix = path.name.partition(".")
        if member.isfile() and dot + suffix in (SUFFIX, *SIDECARS):
            clips.setdefault(str(path.with_name(key)), {})[dot + suffix] = member
    return [members for members in clips.values() if SUFFIX in members]
