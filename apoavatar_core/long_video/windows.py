"""Which frames of a film each window makes: every window goes on from the last frames of the one before."""

from __future__ import annotations

from dataclasses import dataclass

from ..grid import fills_latent_frames, latent_frames, video_frames


@dataclass(frozen=True)
class Window:
    """One clip of a long film.

    Attributes:
        index: 0 for the film's first.
        start: the frame of the film that it begins with.
        frames: its length, 4n + 1. The last window may run up to three frames over the film's end.
        overlap: frames at its beginning that the film already has; 0 for the first.
    """

    index: int
    start: int
    frames: int
    overlap: int

    @property
    def stop(self) -> int:
        """The film's frame after its last."""
        return self.start + self.frames

    def needed(self, film_frames: int) -> slice:
        """Its frames that a film of so many frames needs and does not have yet: what is written to disk."""
        return slice(self.overlap, min(self.frames, film_frames - self.start))


def windows_of(film_frames: int, window: int, overlap: int, done: int = 0, index: int = 0) -> list[Window]:
    """The windows that are still to be made, in order; together they make each frame of the film exactly once.

    All are `window` frames long but the last, which is as short as the film allows: 4n + 1 and longer than its overlap.
    The same windows come out whether the film is planned from its beginning or goes on after any of them; it may also go
    on with windows of another length.

    Args:
        film_frames: of the whole film, ≥ 1.
        window: frames of a window, 4n + 1.
        overlap: frames that a window takes over from the one before, 0 … window − 1.
        done: frames that the film has; 0 before the first window, else at least `overlap` or the whole film.
        index: the number of the next window.

    Raises:
        ValueError: a number out of range.
    """
    if film_frames < 1:
        raise ValueError(f"The film has {film_frames} frames: let it have at least 1.")
    if not fills_latent_frames(window):
        raise ValueError(f"window is {window} frames: use 4n + 1, such as 81.")
    if not 0 <= overlap < window:
        raise ValueError(f"overlap is {overlap} frames: use 0 to {window - 1}, less than a window.")
    if 0 < done < min(overlap, film_frames):
        raise ValueError(f"The film has {done} frames so far, and overlap is {overlap}: use an overlap of at most {done}.")
    windows = []
    while done < film_frames:
        known = overlap if done else 0
        start = done - known
        windows.append(Window(index + len(windows), start, min(window, _at_least(film_frames - start)), known))
        done = windows[-1].stop
    return windows


def _at_least(frames: int) -> int:
    """The shortest clip, 4n + 1, that holds so many frames."""
    held = video_frames(latent_frames(frames))
    return held if held == frames else video_frames(latent_frames(frames) + 1)
