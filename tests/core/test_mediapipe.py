"""MediaPipe's networks and the chain around them."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from apoavatar_core.checkpoints.presets import MEDIAPIPE, TINY_POSE
from apoavatar_core.checkpoints.safe_file import read_metadata, read_tensors, write_tensors
from apoavatar_core.pose import PersonKeypoints, estimate, load_keypoint_network, load_pose_model
from apoavatar_core.pose.keypoints import LEFT_WRIST, RIGHT_WRIST
from apoavatar_core.pose.mediapipe import Holistic, HolisticNetworks, load_networks
from apoavatar_core.pose.mediapipe.body import sharpened
from apoavatar_core.pose.mediapipe.convert import convert, sampled, waves_picture
from apoavatar_core.pose.mediapipe.crops import Square, angle_between, crop, square_at, turned_square_round
from apoavatar_core.pose.mediapipe.detector import Detection, anchors, decode, merged
from apoavatar_core.pose.mediapipe.hand import square_from_palm
from apoavatar_core.pose.mediapipe.network import Network
from apoavatar_core.pose.mediapipe.smoothing import OneEuro
from apoavatar_core.pose.mediapipe.sparse import packed, unpacked
from apoavatar_core.pose.mediapipe.tracking import HAND, followed
from apoavatar_core.pose.mediapipe.weights import NETWORKS

HERE = Path(__file__).parent
PRESENTER = HERE / "drawn_presenter.png"


@pytest.fixture(scope="module")
def networks() -> HolisticNetworks:
    return load_networks(MEDIAPIPE)


@pytest.fixture(scope="module")
def presenter() -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(PRESENTER)), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="module")
def found(networks: HolisticNetworks, presenter: np.ndarray) -> PersonKeypoints:
    (person,) = estimate(Holistic(networks), presenter[None])
    return person


# --- networks


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_what_the_original_files_give(networks: HolisticNetworks, name: str) -> None:
    reference = np.load(HERE / "mediapipe_reference.npz")
    network = getattr(networks, name)
    pictures = torch.from_numpy(waves_picture(*network.size)).permute(2, 0, 1)[None]
    outputs = network(pictures)
    with torch.inference_mode():
        fused = network(pictures)
    assert {f"{name}.{i}" for i in range(len(outputs))} == {key for key in reference if key.startswith(f"{name}.")}
    for i, output in enumerate(outputs):
        # Sums of float32 in another order.
        expected = reference[f"{name}.{i}"]
        for values in (output, fused[i]):
            rows = values.permute(0, 2, 3, 1) if values.ndim == 4 else values
            np.testing.assert_allclose(sampled(rows.numpy()), expected, rtol=0, atol=max(1e-3, 1e-5 * abs(expected).max()))


def test_a_picture_gives_what_it_gives_in_a_batch(networks: HolisticNetworks) -> None:
    pictures = torch.rand(2, 3, *networks.hand.size, generator=torch.Generator().manual_seed(0))
    for together, alone in zip(networks.hand(pictures), networks.hand(pictures[1:])):
        torch.testing.assert_close(together[1:], alone, atol=1e-3, rtol=1e-4)


def test_other_weights_are_used_once_they_are_loaded() -> None:
    arguments = {"shape": [4, 3, 3, 3], "stride": [2, 2], "groups": 1, "padding": [1, 1], "activation": "relu6"}
    network = Network({"size": [8, 8], "steps": [step("convolution", ["input"], "1", **arguments)], "outputs": ["1"]})
    pictures = torch.rand(1, 3, 8, 8)
    for seed in range(2):
        random = torch.Generator().manual_seed(seed)
        state = {name: 3 * torch.randn(value.shape, generator=random) for name, value in network.state_dict().items()}
        network.load_state_dict(state)
        with torch.inference_mode():
            (found,) = network(pictures)
        weight, bias = state["steps.0.convolution.weight"], state["steps.0.convolution.bias"]
        expected = torch.nn.functional.conv2d(pictures, weight, bias, stride=2, padding=1).clamp(0, 6)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def step(kind: str, inputs: list[str], output: str, **arguments) -> dict:
    return {"kind": kind, "inputs": inputs, "output": output, **arguments}


BROKEN = {
    "unknown kind": [step("eval", ["input"], "1")],
    "no origin": [step("relu", ["2"], "1")],
    "written twice": [step("relu", ["input"], "1"), step("relu", ["1"], "1")],
    "no such argument": [step("relu", ["input"], "1", code="1")],
    "too large": [step("resize", ["input"], "1", size=[1 << 40, 1])],
    "negative": [step("channels", ["input"], "1", count=-1)],
    "not a number": [step("rows", ["input"], "1", width="3")],
    "not a list": [step("max_pool", ["input"], "1", window=2)],
    "not an activation": [step("add", ["input", "input"], "1", activation="__class__")],
}


@pytest.mark.parametrize("steps", BROKEN.values(), ids=BROKEN)
def test_broken_descriptions_are_refused(steps: list[dict]) -> None:
    with pytest.raises(ValueError, match="description of the network is broken"):
        Network({"size": [8, 8], "steps": steps, "outputs": ["1"]})


def test_broken_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing.safetensors is not there"):
        load_networks(tmp_path / "missing.safetensors")
    with pytest.raises(ValueError, match="does not hold MediaPipe's networks"):
        load_networks(TINY_POSE)
    metadata, tensors = read_metadata(MEDIAPIPE), read_tensors(MEDIAPIPE)
    descriptions = json.loads(metadata["networks"])
    descriptions["face"]["steps"][0]["stride"] = [0, 0, 0]
    for name, content in (("networks", json.dumps(descriptions)), ("networks", "[]"), ("networks", "{}")):
        write_tensors(tmp_path / "broken.safetensors", tensors, metadata | {name: content})
        with pytest.raises(ValueError, match="do not fit its weights"):
            load_networks(tmp_path / "broken.safetensors")
    write_tensors(tmp_path / "broken.safetensors", dict(list(tensors.items())[1:]), metadata)
    with pytest.raises(ValueError, match="do not fit its weights"):
        load_networks(tmp_path / "broken.safetensors")


def test_other_wheels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not hold pose_detection"):
        convert(tmp_path / "missing.whl", tmp_path / "out.safetensors")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("mediapipe/modules/pose_detection/pose_detection.tflite", b"another network")
    with pytest.raises(ValueError, match="is not that of mediapipe 0.10.21"):
        convert(tmp_path / "other.whl", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_file_says_which_model_it_holds(networks: HolisticNetworks) -> None:
    assert isinstance(load_pose_model(MEDIAPIPE), Holistic)
    assert load_pose_model(TINY_POSE).config == load_keypoint_network(TINY_POSE).config


def test_weights_with_many_zeros_are_stored_without_them() -> None:
    random = np.random.default_rng(0)
    sparse = random.normal(size=(3, 50, 31)).astype(np.float16) * (random.random((3, 50, 31)) < 0.3)
    weights = {"sparse": sparse, "dense": random.normal(size=(40, 40)).astype(np.float16), "small": np.zeros(5, np.float32)}
    stored = packed(weights)
    assert sum(tensor.nbytes for tensor in stored.values()) < 0.5 * sparse.nbytes + weights["dense"].nbytes
    shapes = {name: torch.Size(values.shape) for name, values in weights.items()}
    for name, tensor in unpacked(stored, shapes).items():
        np.testing.assert_array_equal(tensor.numpy(), weights[name].astype(np.float32))
    for name in stored:
        with pytest.raises(ValueError, match="is missing"):
            unpacked({other: tensor for other, tensor in stored.items() if other != name}, shapes)
    with pytest.raises(ValueError, match="another number of values"):
        unpacked(stored | {"sparse:values": stored["sparse:values"][1:]}, shapes)


# --- crops


def test_a_crop_shows_what_its_square_covers() -> None:
    y, x = np.mgrid[:200, :240]
    picture = np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)
    square = Square(120, 90, side=80, angle=0.5)
    shown = crop(picture, square, 64).astype(float)[..., :2]
    rows, columns = np.mgrid[:64, :64]
    right, down = (columns - 32) / 64 * 80, (rows - 32) / 64 * 80
    expected = [120 + right * math.cos(0.5) - down * math.sin(0.5), 90 + right * math.sin(0.5) + down * math.cos(0.5)]
    assert np.abs(shown - np.stack(expected, axis=-1)).max() < 0.6


def test_beyond_the_picture_is_its_edge_or_black() -> None:
    picture = np.full((10, 10, 3), 200, np.uint8)
    assert crop(picture, Square(5, 5, 40), 16).min() == 200
    assert crop(picture, Square(5, 5, 40), 16, outside="black")[0, 0].max() == 0


def test_points_come_back_from_a_square() -> None:
    points = np.random.default_rng(0).uniform(0, 500, (20, 2))
    square = Square(100, 200, 300, -2.0)
    np.testing.assert_allclose(square.to_picture(square.from_picture(points)), points)
    # A corner, worked out by hand: a square of side 2 round (10, 20), turned by a quarter.
    np.testing.assert_allclose(Square(10, 20, 2, math.pi / 2).to_picture(np.array([0.0, 0.0])), (11, 19))


@pytest.mark.parametrize("degrees", [-170, -90, 0, 35, 90, 180])
def test_an_edge_point_is_above_the_centre_in_the_crop(degrees: float) -> None:
    angle = math.radians(degrees)
    edge = np.array([50 + 10 * math.cos(angle), 60 + 10 * math.sin(angle)])
    square = square_at(np.array([50.0, 60.0]), edge, 90, scale=1.25)
    assert square.side == pytest.approx(25)
    np.testing.assert_allclose(square.from_picture(edge), (0.5, 0.1), atol=1e-9)
    shifted = square_at(np.array([50.0, 60.0]), edge, 90, scale=1, shift=-0.1)
    np.testing.assert_allclose(shifted.from_picture(edge), (0.5, 0.1), atol=1e-9)


def test_a_turned_box_is_the_box_of_the_turned_points() -> None:
    box = Square(70, 80, 30, 0.7)
    points = box.to_picture(np.array([[0, 0.2], [1, 0.8], [0.5, 0.5]]))
    square = turned_square_round(points, 0.7, scale=2)
    assert (square.x, square.y, square.side) == pytest.approx((70, 80, 60))


def test_angles_stay_within_half_a_turn() -> None:
    for degrees in range(-180, 180, 15):
        end = np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
        assert -math.pi <= angle_between(np.zeros(2), end, -90) < math.pi


# --- detectors


@pytest.mark.parametrize(("size", "count"), [(224, 2254), (192, 2016), (128, 896)])
def test_anchors_are_as_many_as_the_detectors_have(size: int, count: int) -> None:
    grid = anchors(size)
    assert grid.shape == (count, 2) and 0 < grid.min() and grid.max() < 1
    np.testing.assert_allclose(grid[:3] * size, [[4, 4], [4, 4], [12, 4]])


def test_boxes_are_read_off_the_anchors() -> None:
    boxes, scores = np.zeros((896, 16), np.float32), np.full(896, -9, np.float32)
    boxes[2, :6] = 2, 4, 32, 16, 5, 6  # from the anchor at (12, 4): centre (14, 8), a keypoint at (17, 10)
    scores[2] = 3
    points, good = decode(boxes, scores, 128)
    assert good == pytest.approx(1 / (1 + math.exp(-3)))
    np.testing.assert_allclose(points[0, :3] * 128, [[-2, 0], [30, 16], [17, 10]], atol=1e-4)
    empty, none = decode(boxes, np.full(896, -9, np.float32), 128)
    assert empty.shape == (0, 8, 2) and merged(empty, none) == []


def test_overlapping_boxes_become_their_weighted_mean() -> None:
    first, second, other = ([[0, 0], [10, 10]], [[1, 0], [11, 10]], [[8, 8], [18, 18]])
    found = merged(np.array([second, first, other], float), np.array([0.6, 0.9, 0.7]))
    assert [score for _, score in found] == [0.9, 0.7]
    np.testing.assert_allclose(found[0][0], [[0.4, 0], [10.4, 10]])
    np.testing.assert_allclose(found[1][0], other)


# --- landmarks


def test_landmarks_move_to_the_middle_of_their_blob() -> None:
    heatmaps = np.full((3, 64, 64), -20.0)
    heatmaps[0, 19:22, 29:32] = 5  # round row 20, column 30
    heatmaps[1, 0, 0] = 5
    heatmaps[2, 40, 40] = -1  # too faint
    points = np.array([[31.5, 21.5], [0.2, 0.4], [40.5, 40.5]]) / 64
    moved = sharpened(points, heatmaps) * 64
    np.testing.assert_allclose(moved, [[30, 20], [0, 0], [40.5, 40.5]], atol=1e-3)
    outside = np.array([[-0.2, 0.5], [0.5, 1.2], [2.0, 2.0]])
    np.testing.assert_array_equal(sharpened(outside, heatmaps), outside)


def test_smoothing_is_the_one_euro_filter() -> None:
    """Against the algorithm as its paper writes it, one number at a time."""

    def alpha(cutoff: float) -> float:
        te, tau = 1 / 30, 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau / te)

    values = np.cumsum(np.random.default_rng(0).normal(size=30)) * 5
    smooth = OneEuro(cutoff=0.05, beta=80)
    previous = hat = speed = None
    for value in values:
        if previous is None:
            hat, speed = value, 0.0
        else:
            speed = alpha(1.0) * ((value - previous) / 200 * 30) + (1 - alpha(1.0)) * speed
            share = alpha(0.05 + 80 * abs(speed))
            hat = share * value + (1 - share) * hat
        previous = value
        assert smooth(np.array([[value, 0.0]]), 200)[0, 0] == pytest.approx(hat)


def test_a_square_is_followed_while_the_body_agrees() -> None:
    before, landmarks = Square(100, 100, 50, 0.1), np.array([[90.0, 95.0], [110, 105]])
    assert followed(before, landmarks, Square(105, 103, 55, 0.2), HAND) is before
    changed = {
        "moved": Square(112, 100, 55, 0.1),
        "turned": Square(100, 100, 50, 0.1 + math.radians(41)),
        "grown": Square(100, 100, 85, 0.1),
    }
    for suggested in changed.values():
        assert followed(before, landmarks, suggested, HAND) is suggested
    suggested = Square(100, 100, 50, 0.1)
    assert followed(before, np.array([[100.0, 124.0]]), suggested, HAND) is suggested
    assert followed(None, None, suggested, HAND) is suggested
    # Half a turn is half a turn, whichever way it is counted.
    assert followed(Square(100, 100, 50, math.pi - 0.1), landmarks, Square(100, 100, 50, 0.1 - math.pi), HAND).angle > 0


# --- the chain


def test_a_drawn_presenter_is_found_whole(found: PersonKeypoints) -> None:
    assert found.body[:8, 2].min() > 0.9 and found.face[:, 2].min() > 0.9
    for wrist, hand, elbow in ((LEFT_WRIST, found.left_hand, 6), (RIGHT_WRIST, found.right_hand, 3)):
        assert hand[:, 2].min() > 0.5
        reach = np.linalg.norm(found.body[wrist, :2] - found.body[elbow, :2])
        assert np.linalg.norm(hand[0, :2] - found.body[wrist, :2]) < 0.3 * reach
    # The person's right is the picture's left, and the face is upright.
    assert found.body[2, 0] < found.body[1, 0] < found.body[5, 0] and found.face[68, 0] < found.face[69, 0]
    assert found.face[[68, 69], 1].max() < found.face[30, 1] < found.face[51, 1] < found.face[57, 1] < found.face[8, 1]


def test_a_mirrored_picture_gives_the_mirrored_person(
    networks: HolisticNetworks, presenter: np.ndarray, found: PersonKeypoints
) -> None:
    (mirrored,) = estimate(Holistic(networks), presenter[:, ::-1][None])
    swapped_body = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]
    jaw_and_brows = [*range(16, -1, -1), *range(26, 16, -1)]
    for one, other in (
        (found.body[:8], mirrored.body[swapped_body][:8]),
        (found.left_hand, mirrored.right_hand),
        (found.right_hand, mirrored.left_hand),
        (found.face[[*range(27), 68, 69]], mirrored.face[[*jaw_and_brows, 69, 68]]),
    ):
        assert np.abs(one[:, :2] - np.stack([1 - other[:, 0], other[:, 1]], axis=-1)).max() < 0.06


def test_frames_are_followed_across_batches(networks: HolisticNetworks, presenter: np.ndarray) -> None:
    frames = np.stack([np.roll(presenter, 2 * shift, axis=1) for shift in range(3)] + [np.zeros_like(presenter)])
    calls = []
    people = estimate(Holistic(networks), frames, batch_size=3, progress=lambda *done: calls.append(done))
    again = estimate(Holistic(networks), frames, batch_size=1)
    assert calls == [(3, 4), (4, 4)]
    for one, other in zip(people, again):
        np.testing.assert_array_equal(one.points, other.points)
    assert people[3].points[:, 2].max() == 0
    # Smoothing: the second frame's neck lags behind the roll of 2 pixels, and has moved.
    assert 0 < people[1].body[1, 0] - people[0].body[1, 0] < 2 / 512


def test_the_person_in_the_box_is_found(networks: HolisticNetworks, presenter: np.ndarray) -> None:
    two = np.concatenate([presenter, presenter], axis=1)
    frames = np.stack([two, two])
    left, right = estimate(Holistic(networks), frames, boxes=np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1]]))
    assert left.body[1, 0] < 0.5 < right.body[1, 0]
    np.testing.assert_allclose(left.body[:8, 0] + 0.5, right.body[:8, 0], atol=0.03)


def test_two_persons_have_a_box_each(networks: HolisticNetworks, presenter: np.ndarray) -> None:
    small = cv2.resize(presenter, (400, 400), interpolation=cv2.INTER_AREA)
    two = np.concatenate([presenter, np.pad(small, ((112, 0), (0, 0), (0, 0)))], axis=1)
    boxes = Holistic(networks).persons_in(two)
    left, right = boxes[boxes[:, 0].argsort()]
    assert left[0] < 0.05 and left[2] < 0.75 and right[0] > 0.35 and right[2] > 0.9
    assert left[1] < right[1] < 0.5 and 0 <= boxes.min() and boxes.max() <= 1
    # Whoever the box was made for is looked at, though the other one is in it too.
    for box, side in ((left, 0.28), (right, 0.78)):
        (person,) = estimate(Holistic(networks), two[None], boxes=box[None])
        assert abs(person.body[1, 0] - side) < 0.1
    assert Holistic(networks).persons_in(np.zeros_like(presenter)).shape == (0, 4)


def test_somebody_small_in_a_long_picture_is_found(networks: HolisticNetworks, presenter: np.ndarray) -> None:
    long = np.pad(presenter, ((0, 0), (900, 2600), (0, 0)), mode="edge")
    (box,) = Holistic(networks).persons_in(long)
    assert 700 < box[0] * 4012 < 1156 < box[2] * 4012 < 1700
    (person,) = estimate(Holistic(networks), long[None], boxes=box[None])
    assert abs(person.body[1, 0] * 4012 - 1156) < 30


def test_stopping_stops(networks: HolisticNetworks, presenter: np.ndarray) -> None:
    def stop(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        estimate(Holistic(networks), np.stack([presenter] * 2), batch_size=1, progress=stop)


def test_palms_are_not_looked_for_in_every_frame(networks: HolisticNetworks, presenter: np.ndarray, monkeypatch) -> None:
    looks = []
    monkeypatch.setattr("apoavatar_core.pose.mediapipe.hand.find_hands", lambda _, __, squares: [None] * len(squares))
    monkeypatch.setattr("apoavatar_core.pose.mediapipe.hand.square_from_palm", lambda *_: looks.append(1))
    (*_, last) = estimate(Holistic(networks), np.stack([presenter] * 7))
    assert len(looks) == 2 * 2  # both hands, in the first frame and in the sixth
    assert last.left_hand[:, 2].max() == 0 < last.body[4, 2]


def test_a_palm_of_the_right_wrist_says_where_its_hand_is(networks: HolisticNetworks, monkeypatch) -> None:
    """Palms are given: the detector does not know drawn ones."""

    def palm(x: float, y: float) -> Detection:
        """One of 20 x 20 pixels that points to the right."""
        box = np.array([[x, y - 10], [x + 20, y + 10]])
        return Detection(box, np.array([[x, y], [x + 10, y + 10], [x + 20, y]]), 0.9)

    monkeypatch.setattr("apoavatar_core.pose.mediapipe.hand.detect", lambda *_, **__: [palm(10, 10), palm(60, 50)])
    picture, wrist = np.zeros((100, 100, 3), np.uint8), np.array([58.0, 52])
    square = square_from_palm(networks.palm_detector, picture, Square(50, 50, 100), wrist)
    # Fingers up in the crop; the centre lies half a palm further along them.
    assert (square.x, square.y, square.side, square.angle) == pytest.approx((80, 50, 52, math.pi / 2))
    monkeypatch.setattr("apoavatar_core.pose.mediapipe.hand.detect", lambda *_, **__: [])
    assert square_from_palm(networks.palm_detector, picture, Square(50, 50, 100), wrist) is None
