"""MediaPipe's holistic chain: a person's body, hands and face, followed from frame to frame.

A detector finds the person once; after that each frame's body says where to look in the next one. The body says roughly
where hands and face are, a small network each looks closer, and what the frame before found is preferred while the two
agree (`tracking.py`). That much is MediaPipe's; beyond it, a hand that was missed is looked for by its palm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from torch import nn

from ..keypoints import PersonKeypoints
from ..model import Frames
from ..persons import shared_part
from ..top_down import PADDING
from . import body, face, hand
from .crops import Square, whole
from .detector import detect
from .keypoints import person_keypoints
from .tracking import FACE, HAND, followed
from .weights import HolisticNetworks


class Holistic(nn.Module):
    """The pose model for real people (a `PoseModel`); it runs where its networks are."""

    detect_every = 8  # between looks it follows the person itself

    def __init__(self, networks: HolisticNetworks) -> None:
        super().__init__()
        self.networks = networks

    def people(self, batches: Iterable[Frames]) -> Iterator[list[PersonKeypoints]]:
        """See `PoseModel.people`."""
        person = _Person(self.networks)
        for batch in batches:
            yield [person.next(picture, box) for picture, box in zip(batch.pictures, batch.boxes)]

    def persons_in(self, picture: np.ndarray) -> np.ndarray:
        """The boxes of the persons in a picture [H, W, 3], as far as they reach into it: [n, 4] as `Frames.boxes`."""
        height, width = picture.shape[:2]
        found = detect(self.networks.person_detector, picture, whole(width, height), darkest=-1)
        boxes = np.array([body.reach(person) for person in found]).reshape(-1, 4) / (width, height, width, height)
        return boxes.clip(0, 1)


class _Person:
    """What is known about the person from the frames so far."""

    def __init__(self, networks: HolisticNetworks) -> None:
        self.networks = networks
        self.forget()

    def forget(self) -> None:
        self.circle: np.ndarray | None = None
        self.smoothing = body.BodySmoothing()
        self.hands: list[hand.Hand | None] = [None, None]
        self.face: face.Face | None = None

    def next(self, picture: np.ndarray, box: np.ndarray) -> PersonKeypoints:
        """The person in the next frame, uint8 [H, W, 3], inside a box [4] in fractions of it."""
        height, width = picture.shape[:2]
        low, high = box[:2] * (width, height), box[2:] * (width, height)
        if self.circle is not None and not ((low <= self.circle[0]) & (self.circle[0] <= high)).all():
            self.forget()
        found = self._body(picture, low, high)
        if found is None:
            self.forget()
            return PersonKeypoints.nobody()
        found = self.smoothing(found)
        self.circle = found.circle
        self.hands = self._hands(picture, found)
        self.face = self._face(picture, found)
        # What only the second look finds is shown and not followed, so that the rest stays MediaPipe's.
        left, right = (one or self._second_look(picture, found, which) for which, one in enumerate(self.hands))
        return person_keypoints(found, left, right, self.face, width, height)

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
        best = max(people, key=lambda person: shared_part(body.reach(person), np.concatenate([low, high])))
        return body.find_body(self.networks.body, picture, body.detected_square(best))

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
        """A hand that is not quite where the body has it, found by its palm."""
        rough = hand.square_from_body(found, hand.SIDES[which])
        if rough is None:
            return None
        wrists = found.points[[side[0] for side in hand.SIDES]]
        square = hand.square_from_palm(self.networks.palm_detector, picture, rough, wrists[which])
        (one,) = hand.find_hands(self.networks.hand, picture, [square]) if square else [None]
        # A hand that is nearer to the other wrist is the other one.
        mine = one is not None and np.linalg.norm(one.points[0] - wrists, axis=1).argmin() == which
        return one if mine else None

    def _face(self, picture: np.ndarray, found: body.Body) -> face.Face | None:
        rough = face.square_from_body(found)
        faces = detect(self.networks.face_detector, picture, rough, darkest=-1)
        if not faces:
            return None
        square = _follow(self.face, face.square_from_face, face.square_from_detection(faces[0]), FACE)
        return face.find_face(self.networks.face, picture, square)


def _follow(before, square_from, suggested: Square, loyalty) -> Square:
    """The square round what the frame before found, or the suggested one."""
    if before is None:
        return suggested
    return followed(square_from(before), before.points, suggested, loyalty)
