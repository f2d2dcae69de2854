"""Picture the nodes for their help pages: `python workflows/make_help_pictures.py [NODE ...]`, in the environment of `dev.py`.

Writes rows of frames into `js/docs`: of what single nodes of a workflow give, drawn, and of the films in `docs` that
`make_pictures.py` has made.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from devtools import environment, server, workflow  # noqa: E402
from workflows.make_pictures import decoded, write  # noqa: E402

DOCS = FOLDER.parent / "js" / "docs"
MOMENTS = (0, 9, 18, 27, 36, 45)
"""Frames of a row."""
CELL = 144
"""Pixels of a frame's side."""

FROM_VOICE, FROM_FILM = "gestures from voice - skeleton on a portrait", "gestures of a film - skeleton on a portrait"


@dataclass(frozen=True)
class Film:
    """Frames of a film in `docs`, with the voice above them or without."""

    name: str
    with_voice: bool = False


@dataclass(frozen=True)
class Drawn:
    """Frames of an output of the node with this title: pictures as they are, a pose drawn over what another node gives, or on
    black.
    """

    workflow: str
    title: str
    slot: int = 0
    over: str | None = None
    is_pose: bool = True


EXAMPLE = "Example: connect your own here"
ROWS: dict[str, tuple[Film | Drawn, ...]] = {
    "ApoAvatarExample": (Drawn(FROM_FILM, "Pictures of the film", is_pose=False),),
    "ApoAvatarLoadModels": (Film("demo"),),
    "ApoAvatarApplyAdapter": (Film("hard"),),
    "ApoAvatarLoudnessRefocusing": (Drawn(FROM_VOICE, "Audio Loudness Refocusing", 1, is_pose=False),),
    "ApoAvatarExtractPose": (Drawn(FROM_FILM, "The film's pose", over="Pictures of the film"),),
    "ApoAvatarRenderPose": (Drawn(FROM_FILM, "Refocus Gestures"), Drawn(FROM_FILM, "Refocus Gestures", over=EXAMPLE)),
    "ApoAvatarLoadOpenPose": (Drawn(FROM_FILM, "The film's pose"),),
    "ApoAvatarPoseTrack": (Drawn(FROM_FILM, "The film's pose"), Drawn(FROM_FILM, "Pose Track")),
    "ApoAvatarRetargetPose": (Drawn(FROM_FILM, "Pose Track"), Drawn(FROM_FILM, "Retarget Pose", over=EXAMPLE)),
    "ApoAvatarRefocusGestures": (
        Drawn(FROM_FILM, "Retarget Pose", over=EXAMPLE),
        Drawn(FROM_FILM, "Refocus Gestures", over=EXAMPLE),
    ),
    "ApoAvatarGesturesFromVoice": (Drawn(FROM_VOICE, "Gestures from Voice", over=EXAMPLE),),
    "ApoAvatarConditioning": (Film("hard"), Film("refocused")),
    "ApoAvatarDecoupledCFGGuider": (Film("refocused"),),
    "ApoAvatarSampler": (Film("demo"),),
    "ApoAvatarLongVideo": (Film("demo", with_voice=True),),
}
"""What each page shows."""


def main() -> None:
    layout = environment.Layout(FOLDER.parent)
    environment.link_pack(layout)
    with server.running_server(layout) as running:
        for node in sys.argv[1:] or ROWS:
            rows = [film_row(row) if isinstance(row, Film) else row_of(frames_of(running, row)) for row in ROWS[node]]
            write(DOCS / f"{node}.jpg", np.concatenate(rows))


def film_row(film: Film) -> np.ndarray:
    """The strip of a film as wide as a row; with the voice above it or without."""
    strip = cv2.cvtColor(cv2.imread(str(FOLDER.parent / "docs" / f"{film.name}.jpg")), cv2.COLOR_BGR2RGB)
    return row_of([strip if film.with_voice else strip[len(strip) // 2 :]])


def frames_of(running: server.ComfyServer, row: Drawn) -> list[np.ndarray]:
    prompt = workflow.to_prompt(workflow.load(FOLDER / f"ApoAvatar {row.workflow}.json"), running.object_info())
    files = running.output_files(running.queue(alone(prompt, row)))
    return [decoded(running.fetch(file)) for file in files]


def alone(prompt: dict, row: Drawn) -> dict:
    """The prompt without its own outputs, saving what the row shows."""
    numbers = {node["_meta"]["title"]: number for number, node in prompt.items()}
    kept = {number: node for number, node in prompt.items() if node["class_type"] not in ("SaveVideo", "PreviewImage")}
    pictures = [numbers[row.title], row.slot]
    if row.is_pose:
        drawing = {"pose": pictures, "width": 2 * CELL, "height": 2 * CELL, "style": "apoavatar"}
        if row.over:
            drawing["background"] = [numbers[row.over], 0]
        kept["drawn"] = {"class_type": "ApoAvatarRenderPose", "inputs": drawing}
        pictures = ["drawn", 0]
    kept["saved"] = {"class_type": "SaveImage", "inputs": {"images": pictures, "filename_prefix": "help"}}
    return kept


def row_of(frames: list[np.ndarray]) -> np.ndarray:
    """Frames beside each other; a single wide picture as wide as they are."""
    width = CELL * len(MOMENTS)
    if len(frames) == 1:
        height = round(frames[0].shape[0] * width / frames[0].shape[1])
        return cv2.resize(frames[0], (width, height), interpolation=cv2.INTER_AREA)
    cells = [frames[min(moment, len(frames) - 1)] for moment in MOMENTS]
    return np.concatenate([cv2.resize(cell, (CELL, CELL), interpolation=cv2.INTER_AREA) for cell in cells], 1)


if __name__ == "__main__":
    main()
