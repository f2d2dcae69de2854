"""The pose of a folder's films, written beside each of them as `clip.pose.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..checkpoints.presets import MEDIAPIPE
from ..files import write_whole
from ..pose import load_pose_model, persons, to_frame
from ..pose.mediapipe import Holistic
from ..pose.model import Frames
from ..precision import training_device
from .film import Film
from .films import POSE, SUFFIX

AT_ONCE = 32
"""Pictures of a film that are in memory together."""
LONGEST_SIDE = 1280
"""Of the pictures that are looked at; larger ones are made smaller."""
WHOLE = np.array([0.0, 0.0, 1.0, 1.0])


def write_poses(folder: Path) -> None:
    """Find the pose of every film that has none yet, with MediaPipe's networks. Films that cannot be read are named and skipped.

    Raises:
        ValueError: the folder holds no films.
    """
    films = sorted(folder.glob(f"*{SUFFIX}"))
    if not films:
        raise ValueError(f"{folder} holds no {SUFFIX} films")
    model = load_pose_model(MEDIAPIPE).to(training_device())
    for path in films:
        target = path.with_suffix(POSE)
        if target.exists():
            continue
        try:
            pose = pose_of(model, path)
        except ValueError as error:
            print(f"skipped {path.name}: {error}", flush=True)
            continue
        write_whole(target, json.dumps(pose))
        nobody = sum(not frame["people"] for frame in pose)
        print(f"{target.name}: {len(pose)} frames, nobody in {nobody} of them", flush=True)


def pose_of(model: Holistic, path: Path) -> list[dict[str, Any]]:
    """An OpenPose frame for every picture of a film's own: its largest person.

    Raises:
        ValueError: the film cannot be read.
    """
    film = Film(path, path.name)
    sizes: list[tuple[int, int]] = []

    def parts() -> Iterator[Frames]:
        pictures = film.each_picture()
        while part := [smaller(picture) for picture in islice(pictures, AT_ONCE)]:
            frames = np.stack(part)
            sizes.extend([frames.shape[1:3]] * len(frames))
            yield Frames(frames, boxes_in(model, frames))

    try:
        people = [person for found in model.people(parts()) for person in found]
    finally:
        film.close()
    return [to_frame(person, width, height) for person, (height, width) in zip(people, sizes, strict=True)]


def boxes_in(model: Holistic, frames: np.ndarray) -> np.ndarray:
    """Where the largest person is in each of some frames [T, H, W, 3]: [T, 4] as `Frames.boxes`."""
    tracks = persons.followed(persons.look(model.persons_in, frames, every=model.detect_every))
    return persons.boxes_of(persons.largest(tracks), len(frames)) if tracks else np.tile(WHOLE, (len(frames), 1))


def smaller(picture: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3], made smaller if it is larger than what is looked at."""
    scale = LONGEST_SIDE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (round(side * scale) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
