"""What a run says of its steps, one JSON object a line, for curves and for reckoning how long a step takes."""

from __future__ import annotations

import json
import time
from pathlib import Path

Entry = dict[str, float]


class Log:
    """Adds lines to a file: the step, the Unix time, and named numbers."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

    def add(self, step: int, **values: float) -> None:
        line = json.dumps({"step": step, "time": time.time(), **values})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def read_log(path: Path) -> list[Entry]:
    """The entries in the order of their steps, none when there is no file. Lines of one step are one entry, and what a run
    repeated after it was stopped counts once; a line that was cut off is left out.
    """
    entries: dict[int, Entry] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        entries[entry["step"]] = {**entry, **entries.get(entry["step"], {})}
    return [entries[step] for step in sorted(entries)]
