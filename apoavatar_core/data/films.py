"""A folder of filmed clips with sidecars: `clip.mp4` with its sound, `clip.txt` the caption, and, where the pose is known,
`clip.pose.json`, a list of OpenPose frames, one for each frame of the film.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from .clips import ClipFormat, StoredClip
from .film import Film
from .kept_open import KeptOpen

SUFFIX = ".mp4"
SIDECARS = CAPTION, POSE = ".txt", ".pose.json"
NOBODY = {"people": [], "canvas_width": 1, "canvas_height": 1}

Sidecar = Callable[[str], bytes | None]
"""What a sidecar of a film holds, by its suffix; None when there is none."""


class VideoFolder:
    """The films of a folder, each cut into as many pieces as it holds. Pieces of a film are best loaded in order."""

    def __init__(self, folder: Path, format: ClipFormat):
        self.folder, self.format = folder, format
        self._film = KeptOpen(lambda path: Film(path, path.name))

    def names(self) -> list[str]:
        """`<film>_<piece>` of every piece. A film that cannot be opened counts as one, so that loading it says why."""
        return [
            f"{path.stem}_{piece:04d}"
            for path in sorted(self.folder.glob(f"*{SUFFIX}"))
            for piece in range(pieces(path, path.name, self.format))
        ]

    def load(self, name: str) -> StoredClip:
        """One piece.

        Raises:
            ValueError: what about the film or its sidecars is unusable.
        """
        stem, piece = name.rsplit("_", 1)
        path = self.folder / f"{stem}{SUFFIX}"

        def sidecar(suffix: str) -> bytes | None:
            file = path.with_suffix(suffix)
            return file.read_bytes() if file.is_file() else None

        return read_piece(self._film(path), int(piece), self.format, sidecar)


def pieces(file, name: str, format: ClipFormat) -> int:
    """How many clips a film (`Film`'s arguments) is cut into, at least one."""
    try:
        film = Film(file, name)
    except ValueError:
        return 1
    seconds = film.seconds
    film.close()
    return max(1, int(seconds * format.fps / format.frames + 1e-6))


def read_piece(film: Film, number: int, format: ClipFormat, sidecar: Sidecar) -> StoredClip:
    """Piece `number` of a film.

    Raises:
        ValueError: what about the film or its sidecars is unusable.
    """
    first = number * format.frames
    caption = read_caption(sidecar(CAPTION), film.name)
    frames, numbers = film.pictures(first, format.frames, format.fps, format.width, format.height)
    pose = read_pose(sidecar(POSE), film)
    return StoredClip(frames, film.voice, first, [NOBODY if pose is None else pose[n] for n in numbers], caption)


def read_caption(content: bytes | None, film: str) -> str:
    """The text of a film's caption."""
    file = Path(film).with_suffix(CAPTION).name
    if content is None:
        raise ValueError(f"{film} has no caption: write what it shows into {file}")
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text in UTF-8: save it as such") from None
    if not text:
        raise ValueError(f"{file} is empty: write what the film shows into it")
    return text


def read_pose(content: bytes | None, film: Film) -> list[dict] | None:
    """The OpenPose frames of all frames of a film; None when the film has no pose file."""
    if content is None:
        return None
    file = Path(film.name).with_suffix(POSE).name
    try:
        frames = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error})") from None
    if not isinstance(frames, list):
        raise ValueError(f"{file} is no list of OpenPose frames")
    if len(frames) != len(film.begins):
        raise ValueError(f"{file} has {len(frames)} frames and {film.name} {len(film.begins)}: write one for each")
    return frames
