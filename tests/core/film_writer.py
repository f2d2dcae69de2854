"""Makes a film window by window in processes that are killed, and looks at what each leaves: film_writer.py ROOT MODE.

Importing PyTorch takes seconds, so the processes are forks of this one. Each film's first process is killed just before its
first, second, third … operation on a file (MODE "operations") or after some time (MODE "moments"), some films' second before
some operation, and this process makes the film whole. The last line of the output is the number of films.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import torch

from apoavatar_core.long_video.folder import open_film
from apoavatar_core.long_video.segments import Encoding
from apoavatar_core.long_video.windows import Window, windows_of

FRAMES, WINDOW, OVERLAP = 12, 9, 5
ENCODING = Encoding(Fraction(25))
OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.listdir", "os.scandir"}


def opened(root: Path):
    return open_film(root, "film", "0123456789abcdef", {"seed": "1"})


def make(root: Path, told: int, then_finish: bool = False) -> None:
    """Make what is left of the film, and say so after every window and before the end."""
    with opened(root) as film:
        for window in windows_of(FRAMES, WINDOW, OVERLAP, film.frames, film.position):
            film.keep(frames_of(window)[window.needed(FRAMES)], ENCODING, {"motion": torch.full((2, 3), window.index)})
            os.write(told, b".")
        if then_finish:
            os.write(told, b"F")
            film.finish()


def frames_of(window: Window) -> torch.Tensor:
    """Each frame of the film has its own brightness."""
    return (torch.arange(window.start, window.stop) / 30)[:, None, None, None].expand(-1, 16, 16, 3)


def killed_at(number: int):
    """An audit hook that kills the process before its operation of this number, counted from 0."""
    left = [number]

    def hook(event: str, arguments) -> None:
        if event in OPERATIONS:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    return hook


def run(root: Path, operation: int | None = None, moment: float | None = None, then_finish: bool = True) -> tuple[bool, str]:
    """Make the film in a fork that is killed; returns whether it was, and what it had said."""
    reading, told = os.pipe()
    child = os.fork()
    if child == 0:
        if operation is not None:
            sys.addaudithook(killed_at(operation))
        try:
            make(root, told, then_finish)
        except BaseException as error:
            print(f"the writer failed: {error!r}", flush=True)
            os._exit(2)
        os._exit(0)
    os.close(told)
    if moment is not None:
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as said:
        words = said.read()
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status), words


def look(root: Path, before: int, said: str) -> int:
    """Open the film as the next process would: everything is there of the windows that are finished, and nothing else.
    Returns how many they are.
    """
    with opened(root) as film:
        names = {path.name for path in film.path.iterdir()}
        segments = {f"{number:06d}.mp4" for number in range(film.position)}
        carried = {f"{film.position - 1:06d}.safetensors"} if film.position else set()
        assert names == {"lock", "state.json"} | segments | carried, names
        shown = [picture for segment in film.segments for picture in brightness(segment)]
        assert len(shown) == film.frames
        assert all(abs(found - 255 * number / 30) < 2 for number, found in enumerate(shown)), shown
        assert not film.position or bool((film.carried()["motion"] == film.position - 1).all())
        # What was said to be kept is; one more window may have been finished without a word.
        kept = before + said.count(".")
        assert kept <= film.position <= kept + 1 or ("F" in said and film.position == 0), (before, said, film.position)
        return film.position


def brightness(segment: Path) -> list[float]:
    with av.open(str(segment)) as container:
        return [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]


def contents(root: Path) -> list[bytes]:
    """Of all segments and of what was carried last, once the film is whole."""
    with opened(root) as film:
        assert film.frames == FRAMES
        return [segment.read_bytes() for segment in film.segments] + [film.carried()["motion"].numpy().tobytes()]


def main(root: Path, mode: str) -> None:
    chance = random.Random(0)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    make(root, nowhere)
    uninterrupted = contents(root)
    for number in range(10_000 if mode == "operations" else 12):
        with opened(root) as film:
            film.finish()
        if mode == "operations":
            was_killed, said = run(root, operation=number)
            if not was_killed:
                break
        else:
            _, said = run(root, moment=chance.uniform(0, 0.2))
        position = look(root, 0, said)
        if number % 3 == 0:
            _, said = run(root, operation=chance.randrange(30), then_finish=False)
            look(root, position, said)
        make(root, nowhere)
        assert contents(root) == uninterrupted
    print(number)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
