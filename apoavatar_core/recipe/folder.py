"""The folder of a whole run: where everything is, what is done, and for how long it was worked on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..checkpoints import presets
from ..files import write_whole
from ..locks import InUse, locked


class RunFolder:
    """Paths inside of a run's folder.

    Attributes:
        recipe: what the run began with.
        clips, held_out: drawn clips to learn from, a bank for each frame rate, and to look at, one bank.
        prepared, prepared_held_out: the same, prepared.
        vae, dit, keypoints: folders of the trainings.
        presets: the finished files, in the folders and under the names that the pack ships them with.
        page: the page about the run.
    """

    def __init__(self, root: Path):
        self.root = root
        self.recipe = root / "recipe.json"
        self.clips, self.held_out = root / "clips", root / "held_out"
        self.prepared, self.prepared_held_out = root / "prepared", root / "prepared_held_out"
        self.vae, self.dit, self.keypoints = root / "vae", root / "dit", root / "keypoints"
        self.presets, self.measures, self.page = root / "presets", root / "measures.json", root / "page" / "index.html"

    def bank(self, fps: float) -> Path:
        """Of the drawn clips to learn from of a frame rate."""
        return self.clips / f"{fps:g}"

    def shipped(self, preset: Path) -> Path:
        """The run's file in the place of one of the pack's presets."""
        return self.presets / preset.relative_to(presets.PRESETS)

    def plan(self, stage: str) -> Path:
        """What was settled for a stage when it began."""
        return self.root / "plans" / f"{stage}.json"

    def log(self, stage: str) -> Path:
        """Of a training's steps."""
        return self.root / stage / "log.jsonl"


@contextmanager
def alone_in(root: Path) -> Iterator[None]:
    """Keep other processes out of the folder for a while.

    Raises:
        ValueError: one is in it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(root / "lock"))
        except InUse:
            raise ValueError(f"--run: another process works in {root}: stop it or use another folder") from None
        yield


class Progress:
    """Which stages of a run are done, and the seconds that each was worked on; kept in a file."""

    def __init__(self, root: Path):
        self.path = root / "progress.json"
        self._lock = threading.Lock()
        self._stages: dict[str, dict] = {}
        if self.path.exists():
            self._stages = json.loads(self.path.read_text(encoding="utf-8"))

    def is_done(self, stage: str) -> bool:
        return self._stages.get(stage, {}).get("done", False)

    def seconds(self, stage: str) -> float:
        return self._stages.get(stage, {}).get("seconds", 0.0)

    def add(self, stage: str, seconds: float, done: bool = False) -> None:
        """Count seconds of work on a stage."""
        with self._lock:
            self._stages[stage] = {"seconds": self.seconds(stage) + seconds, "done": done}
            write_whole(self.path, json.dumps(self._stages, indent=1))
