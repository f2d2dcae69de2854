"""A model of the drawn presenter in all its modes on held-out clips: people, voices, sentences that its training never met."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..files import write_whole
from ..pose import PersonKeypoints, PoseModel, from_frame
from ..synthetic import Clip
from . import clip_measures, windows_in_row
from .contact_sheet import contact_sheet
from .presenter_films import MODES
from .verdicts import verdicts
from .watching import Film, watch
from .windows_in_row import LongFilms

__all__ = ["Evaluation", "Film", "Generate", "kept", "strip", "watch", "write_report"]

Generate = Callable[[Clip, int], dict[str, np.ndarray]]
"""(clip, seed) → uint8 frames [T, H, W, 3] for each of MODES and for RECONSTRUCTION; `TinyGenerator` is one."""
SHOWN_EVERY = 10
"""Frames of a clip that a strip shows."""


@dataclass
class Evaluation:
    """The clips so far: of each its `seed`, its `caption` and what was measured of the `generated` and of the `drawn` films.

    made_by: what the numbers follow from, so that a file of them is gone on with only where they would be the same.
    """

    clips: list[dict] = field(default_factory=list)
    made_by: str = ""

    def add(
        self, clip: Clip, seed: int, generate: Generate, in_a_row: LongFilms, network: PoseModel
    ) -> tuple[dict[str, np.ndarray], dict[str, Film]]:
        """Generate and measure one more clip; returns its films by mode, and what the network saw in them."""
        pictures = generate(clip, seed)
        generated, drawn, films = clip_measures.measured(clip, seed, pictures, network)
        lasting = windows_in_row.measured(seed, clip.frames.shape[1], in_a_row, network)
        self.clips.append(
            {"seed": seed, "caption": clip.caption, "generated": generated | lasting[0], "drawn": drawn | lasting[1]}
        )
        return pictures, films

    def report(self) -> dict:
        """The content of the JSON file."""
        generated, drawn = ([clip[which] for clip in self.clips] for which in ("generated", "drawn"))
        measures = verdicts(generated, drawn) if self.clips else {}
        return {"clips": len(self.clips), "measures": measures, "per_clip": self.clips, "made_by": self.made_by}


def kept(path: Path | None, made_by: str) -> Evaluation:
    """The clips of a report that the same files and the same code have made; none where there is no such report."""
    if path and path.exists():
        report = json.loads(path.read_text(encoding="utf-8"))
        if report.get("made_by") == made_by:
            return Evaluation(report["per_clip"], made_by)
    return Evaluation(made_by=made_by)


def write_report(path: Path, report: dict) -> None:
    """As JSON, so that the file is always whole; what is unknown is null."""

    def known(value):
        if isinstance(value, dict):
            return {key: known(item) for key, item in value.items()}
        if isinstance(value, list):
            return [known(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    write_whole(path, json.dumps(known(report), indent=1) + "\n")


def strip(clip: Clip, pictures: Mapping[str, np.ndarray], films: Mapping[str, Film]) -> np.ndarray:
    """Every tenth frame of a clip, each with its faster hand enlarged beside it, uint8 [rows·H, columns·W, 3]: as it is drawn,
    and below in each of MODES.
    """
    drawn: list[PersonKeypoints] = [from_frame(frame) for frame in clip.keypoints]
    rows = [(clip.frames, drawn), *((pictures[mode], films[mode].people) for mode in MODES)]
    shown = range(0, len(clip.frames), SHOWN_EVERY)
    return np.concatenate([contact_sheet([frames], people, shown) for frames, people in rows])
