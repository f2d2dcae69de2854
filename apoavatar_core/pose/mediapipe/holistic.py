"""MediaPipe's holistic chain: a person's body, hands and face, followed from frame to frame.

A detector finds the person once; after that each frame's body says where to look in the next one. The body says roughly
where hands and face are, a small network each looks closer, and what the frame before found is preferred while the two
agree (`tracking.py`). That much is MediaPipe's; beyond it, a hand that was missed is looked for by its palm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..keypoints import PersonKeypoints
from ..model import Frames
from ..persons import shared_part
from ..top_down import PADDING
from . import body, face, hand
from .crops import Square, parts, whole
from .detector import OVERLAP, detect
from .keypoints import person_keypoints
from .tracking import FACE, HAND, followed
from .weights import HolisticNetworks

SPARED = 4
"""Frames in which a hand is not looked for by its palm, after a vain look: that takes as long as both hands' landmarks."""


class Holistic(nn.Module):
    """The pose model for real people (a `PoseModel`); it runs where its networks are."""

    detect_every = 8  # between looks it follows the person itself

    def __init__(self, networks: HolisticNetworks) -> None:
        super().__init__()
        self.networks = networks

    def people(self, batches: Iterable[Frames]) -> Iterator[list[PersonKeypoints]]:
        """See `PoseModel.people`. A second thread follows body and face while this one looks at the frames before."""
        trunk, hands = _Trunk(self.networks), _Hands(self.networks)
        with ThreadPoolExecutor(1) as ahead:
            for batch in batches:
                with half_the_threads(ahead):
                    seen = [ahead.submit(trunk.next, picture, box) for picture, box in zip(batch.pictures, batch.boxes)]
                    found = [hands.next(picture, one.result()) for picture, one in zip(batch.pictures, seen)]
                yield found

    def persons_in(self, picture: np.ndarray) -> np.ndarray:
        """The boxes of the persons in a picture [H, W, 3], as far as they reach into it: [n, 4] as `Frames.boxes`.

        In a long picture in which nobody is found, for they are small in it, its parts are looked at.
        """
        height, width = picture.shape[:2]
        found = self._reaches(picture, [whole(width, height)])
        if not found and max(width, height) > 1.5 * min(width, height):
            found = self._reaches(picture, parts(width, height))
        boxes = np.array(found).reshape(-1, 4) / (width, height, width, height)
        return boxes.clip(0, 1)

    def _reaches(self, picture: np.ndarray, squares: Sequence[Square]) -> list[np.ndarray]:
        """The boxes [4] of persons whom squares of a picture show, each person once; in pixels."""
        found: list[np.ndarray] = []
        for square in squares:
            for person in detect(self.networks.person_detector, picture, square, darkest=-1):
                box = body.reach(person.keypoints[:2])
                if not any(shared_part(box, other) > OVERLAP for other in found):
                    found.append(box)
        return found


@dataclass(frozen=True, eq=False)
class _Seen:
    """Body and face in a frame; `new` where the person was not followed there from the frame before."""

    body: body.Body
    face: face.Face | None
    new: bool


class _Trunk:
    """What is known about body and face from the frames so far."""

    def __init__(self, networks: HolisticNetworks) -> None:
        self.networks = networks
        self.forget()

    def forget(self) -> None:
        self.circle: np.ndarray | None = None
        self.smoothing = body.BodySmoothing()
        self.face: face.Face | None = None

    def next(self, picture: np.ndarray, box: np.ndarray) -> _Seen | None:
        """The person in the next frame, uint8 [H, W, 3], inside a box [4] in fractions of it."""
        height, width = picture.shape[:2]
        low, high = box[:2] * (width, height), box[2:] * (width, height)
        if self.circle is not None and not self._is_between(low, high, (width, height)):
            self.forget()
        new = self.circle is None
        found = self._body(picture, low, high)
        if found is None:
            self.forget()
            return None
        found = self.smoothing(found)
        self.circle = found.circle
        self.face = self._face(picture, found)
        return _Seen(found, self.face, new)

    def _is_between(self, low: np.ndarray, high: np.ndarray, size: tuple[int, int]) -> bool:
        """Whether the middle of what the picture shows of the person is in a box; the hips may be far below it."""
        reach = body.reach(self.circle)
        start, end = np.maximum(reach[:2], 0), np.minimum(reach[2:], size)
        middle = (start + end) / 2
        return bool(((start < end) & (low <= middle) & (middle <= high)).all())

    def _body(self, picture: np.ndarray, low: np.ndarray, high: np.ndarray) -> body.Body | None:
        if self.circle is not None:
            return body.find_body(self.networks.body, picture, body.body_square(self.circle))
        # With some room, for boxes are tight; the whole picture is as MediaPipe looks at it.
        side = min(PADDING * (high - low).max(), max(picture.shape[:2]))
        where = Square(*((low + high) / 2), side)
        people = detect(self.networks.person_detector, picture, where, darkest=-1)
        if not people:
            return None
        # Of several, the one whom the box was made for.
        best = max(people, key=lambda person: shared_part(body.reach(person.keypoints[:2]), np.concatenate([low, high])))
        return body.find_body(self.networks.body, picture, body.detected_square(best))

    def _face(self, picture: np.ndarray, found: body.Body) -> face.Face | None:
        rough = face.square_from_body(found)
        faces = detect(self.networks.face_detector, picture, rough, darkest=-1)
        if not faces:
            return None
        square = _follow(self.face, face.square_from_face, face.square_from_detection(faces[0]), FACE)
        return face.find_face(self.networks.face, picture, square)


class _Hands:
    """What is known about the hands from the frames so far."""

    def __init__(self, networks: HolisticNetworks) -> None:
        self.networks = networks
        self.forget()

    def forget(self) -> None:
        self.hands: list[hand.Hand | None] = [None, None]
        self.waiting = [0, 0]

    def next(self, picture: np.ndarray, seen: _Seen | None) -> PersonKeypoints:
        """The whole person in the next frame, uint8 [H, W, 3]."""
        if seen is None or seen.new:
            self.forget()
        if seen is None:
            return PersonKeypoints.nobody()
        self.hands = self._hands(picture, seen.body)
        # What only the second look finds is shown and not followed, so that the rest stays MediaPipe's.
        left, right = (one or self._second_look(picture, seen.body, which) for which, one in enumerate(self.hands))
        height, width = picture.shape[:2]
        return person_keypoints(seen.body, left, right, seen.face, width, height)

    def _hands(self, picture: np.ndarray, found: body.Body) -> list[hand.Hand | None]:
        rough = [hand.square_from_body(found, side) for side in hand.SIDES]
        seen = [i for i, square in enumerate(rough) if square is not None]
        closer = hand.closer_squares(self.networks.hand_crop, picture, [rough[i] for i in seen])
        squares = [_follow(self.hands[i], hand.square_from_hand, square, HAND) for i, square in zip(seen, closer)]
        hands: list[hand.Hand | None] = [None, None]
        for i, one in zip(seen, hand.find_hands(self.networks.hand, picture, squares)):
            hands[i] = one
        return hands

    def _second_look(self, picture: np.ndarray, found: body.Body, which: int) -> hand.Hand | None:
        """A hand that is not quite where the body has it, found by its palm; after a vain look the next frames are spared."""
        if self.waiting[which]:
            self.waiting[which] -= 1
            return None
        rough = hand.square_from_body(found, hand.SIDES[which])
        if rough is None:
            return None
        wrists = found.points[[side[0] for side in hand.SIDES]]
        square = hand.square_from_palm(self.networks.palm_detector, picture, rough, wrists[which])
        (one,) = hand.find_hands(self.networks.hand, picture, [square]) if square else [None]
        # A hand that is nearer to the other wrist is the other one.
        mine = one is not None and np.linalg.norm(one.points[0] - wrists, axis=1).argmin() == which
        self.waiting[which] = 0 if mine else SPARED
        return one if mine else None


def _follow(before, square_from, suggested: Square, loyalty) -> Square:
    """The square round what the frame before found, or the suggested one."""
    if before is None:
        return suggested
    return followed(square_from(before), before.points, suggested, loyalty)


@contextmanager
def half_the_threads(ahead: Executor) -> Iterator[None]:
    """Each of two threads, this one and that of `ahead`, with half of PyTorch's: they would wait for each other's."""
    before = torch.get_num_threads()
    ahead.submit(torch.set_num_threads, max(1, before // 2)).result()
    torch.set_num_threads(max(1, before // 2))
    try:
        yield
    finally:
        torch.set_num_threads(before)
