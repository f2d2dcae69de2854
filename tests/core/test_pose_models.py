"""Pose models of other people, and which of several persons they are shown: against networks with known peaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from apoavatar_core.pose import boxes_in, estimate, load_pose_model, persons
from apoavatar_core.pose.layouts import LAYOUTS, person_from
from apoavatar_core.pose.peaks import decode_simcc, decode_udp
from apoavatar_core.pose.top_down import crop_round, cut

WIDTH, HEIGHT = 480, 360
BLOBS = np.array([[210.3, 120.8], [262.6, 201.2], [245.1, 158.4]])
"""Where the picture is red, green and blue, in pixels; point k of every network below is drawn to colour k % 3."""


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    blobs = [np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * 8**2)) for column, row in BLOBS]
    return (np.stack(blobs, axis=-1) * 255).round().astype(np.uint8)


BOX = np.array([[180, 90, 300, 240]]) / (WIDTH, HEIGHT, WIDTH, HEIGHT)


def colours(count: int) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[np.arange(count) % 3]


# --- networks


def onnx_file(path: Path, nodes, constants: dict, outputs: dict, size: tuple[int, int], batch: int | str) -> Path:
    helper, kinds = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "pose",
        [helper.make_tensor_value_info("input", kinds, [batch, 3, size[1], size[0]])],
        [helper.make_tensor_value_info(name, kinds, shape) for name, shape in outputs.items()],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def simcc_file(path: Path, size: tuple[int, int], batch: int | str = "batch") -> Path:
    """The most of rows and columns at twice the resolution, as RTMPose's bins are: bin b is pixel b / 2."""
    node = onnx.helper.make_node
    constants = {"colours": colours(133), "double": np.array([1, 1, 2], np.float32)}
    nodes = []
    for name, axis in (("simcc_x", 2), ("simcc_y", 3)):
        nodes += [
            node("ReduceMax", ["input"], [f"{name}_most"], axes=[axis], keepdims=0),
            node("Resize", [f"{name}_most", "", "double"], [f"{name}_bins"], mode="linear",
                 coordinate_transformation_mode="asymmetric"),
            node("MatMul", ["colours", f"{name}_bins"], [name]),
        ]  # fmt: skip
    outputs = {"simcc_x": [batch, 133, 2 * size[0]], "simcc_y": [batch, 133, 2 * size[1]]}
    return onnx_file(path, nodes, constants, outputs, size, batch)


def heatmap_file(path: Path, size: tuple[int, int]) -> Path:
    """The picture at a quarter of its size, first and last pixels kept in place, as UDP has it."""
    node = onnx.helper.make_node
    constants = {
        "colours": colours(133)[:, :, None, None] / 5,
        "bias": np.full(133, 0.5, np.float32),
        "size": np.array([1, 3, size[1] // 4, size[0] // 4], np.int64),
    }
    nodes = [
        node("Resize", ["input", "", "", "size"], ["small"], mode="linear", coordinate_transformation_mode="align_corners"),
        node("Conv", ["small", "colours", "bias"], ["heatmaps"]),
    ]
    return onnx_file(path, nodes, constants, {"heatmaps": [1, 133, size[1] // 4, size[0] // 4]}, size, 1)


class Colours(nn.Module):
    """As `heatmap_file`, for Sapiens' size."""

    def __init__(self, count: int, height: int = 256) -> None:
        super().__init__()
        self.height = height
        self.points = nn.Conv2d(3, count, 1)
        with torch.no_grad():
            self.points.weight[:] = torch.from_numpy(colours(count))[:, :, None, None] / 5
            self.points.bias[:] = 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.points(F.interpolate(x, size=[self.height, 192], mode="bilinear", align_corners=True))


def sapiens_file(path: Path, *arguments: int) -> Path:
    torch.jit.script(Colours(*arguments)).save(str(path))
    return path


def check_blobs(person, count: int, tolerance: float) -> None:
    layout = np.array(LAYOUTS[count])
    known = layout >= 0
    true = BLOBS[layout[known] % 3]
    found = person.points[known]
    assert np.abs(found[:, :2] * (WIDTH, HEIGHT) - true).max() < tolerance
    assert found[:, 2].min() > 0


@pytest.mark.parametrize(("size", "batch"), [((288, 384), "batch"), ((192, 256), 1)])
def test_simcc_files_find_what_is_in_the_box(tmp_path: Path, picture: np.ndarray, size, batch) -> None:
    model = load_pose_model(simcc_file(tmp_path / "dwpose.onnx", size, batch))
    people = estimate(model, np.stack([picture] * 3), boxes=np.repeat(BOX, 3, axis=0))
    # Of a cell of a heatmap, which is four pixels of the crop; that shows 1.25 boxes.
    cell = 4 * 1.25 * 150 / size[1]
    for person in people:
        check_blobs(person, 133, 0.25 * cell)


def test_heatmap_files_find_what_is_in_the_box(tmp_path: Path, picture: np.ndarray) -> None:
    model = load_pose_model(heatmap_file(tmp_path / "vitpose.onnx", (192, 256)))
    (person,) = estimate(model, picture[None], boxes=BOX)
    check_blobs(person, 133, 0.25 * 4 * 1.25 * 150 / 256)


@pytest.mark.parametrize("count", [133, 308])
def test_sapiens_finds_what_is_in_the_box(tmp_path: Path, picture: np.ndarray, count: int) -> None:
    model = load_pose_model(sapiens_file(tmp_path / "sapiens_torchscript.pt2", count))
    (person,) = estimate(model, picture[None], boxes=BOX)
    check_blobs(person, count, 0.25 * 4 * 1.25 * 150 / 1024)


def test_files_that_are_something_else_are_refused(tmp_path: Path, picture: np.ndarray) -> None:
    for name in ("broken.onnx", "broken.pt2"):
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(ValueError, match=f"{name}.*download"):
            load_pose_model(tmp_path / name)
    classes = onnx_file(
        tmp_path / "classes.onnx", [onnx.helper.make_node("ReduceMean", ["input"], ["out"], axes=[2, 3], keepdims=0)],
        {}, {"out": [1, 3]}, (8, 8), 1,
    )  # fmt: skip
    with pytest.raises(ValueError, match="not a whole-body pose model"):
        load_pose_model(classes)
    for arguments in ((17,), (133, 128)):
        model = load_pose_model(sapiens_file(tmp_path / "other.pt2", *arguments))
        with pytest.raises(ValueError, match="choose one of Sapiens' whole-body pose models"):
            estimate(model, picture[None], boxes=BOX)


# --- peaks


def test_simcc_peaks_lie_between_bins() -> None:
    places = torch.tensor([40.0, 77.3, 0.0, 191.0])
    bins = torch.arange(192)
    scores = 0.8 * torch.exp(-((bins - places[:, None]) ** 2) / (2 * 5.66**2))
    found = decode_simcc(scores, 0.5 * scores.flip(-1))
    torch.testing.assert_close(found[:, 0] * 192, places, atol=0.05, rtol=0)
    torch.testing.assert_close(found[:, 1] * 192, 191 - places, atol=0.05, rtol=0)
    torch.testing.assert_close(found[:2, 2], torch.tensor([0.4, 0.4]), atol=1e-2, rtol=0)


@pytest.mark.parametrize("sigma", [2.0, 6.0])
def test_udp_peaks_lie_between_cells(sigma: float) -> None:
    random = torch.Generator().manual_seed(0)
    places = torch.rand(50, 2, generator=random) * torch.tensor([47.0, 63.0])
    places[:3] = torch.tensor([[0.0, 0.0], [47.0, 63.0], [20.0, 0.0]])
    y, x = torch.meshgrid(torch.arange(64), torch.arange(48), indexing="ij")
    heatmaps = 0.9 * torch.exp(-((x - places[:, :1, None]) ** 2 + (y - places[:, 1:, None]) ** 2) / (2 * sigma**2))
    found = decode_udp(heatmaps + 0.001 * torch.rand(heatmaps.shape, generator=random))
    inside = ((places > 6) & (places < torch.tensor([41.0, 57.0]))).all(-1)
    error = (found[:, :2] * torch.tensor([47, 63]) - places).abs().amax(-1)
    assert error[inside].max() < 0.05 and error.max() < 1.5  # a blob that the edge cuts
    assert (found[:, 2] - 0.9).abs().max() < 0.12
    assert decode_udp(torch.zeros(1, 8, 8)).isfinite().all()


def test_a_crop_shows_the_box_and_a_quarter_more() -> None:
    crop = crop_round(np.array([0.25, 0.5, 0.5, 1.0]), (400, 200), (192, 256))
    # The box is 100 x 100 round (150, 150); the crop 125 high, and as wide as the model's shape asks, or the reverse.
    assert (crop.width, crop.height) == pytest.approx((125, 125 * 256 / 192))
    assert (crop.left + crop.width / 2, crop.top + crop.height / 2) == pytest.approx((150, 150))
    tall = crop_round(np.array([0.5, 0.0, 0.525, 1.0]), (400, 200), (192, 256))
    assert (tall.width, tall.height) == pytest.approx((250 * 192 / 256, 250))


@pytest.mark.parametrize("unbiased", [False, True])
def test_a_crop_and_its_points_agree(unbiased: bool) -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramps = np.stack([x / 2, y / 2, 0 * x], axis=-1).astype(np.uint8)
    size = (96, 128)
    crop = crop_round(BOX[0], (WIDTH, HEIGHT), size)
    shown = cut(ramps, crop, size, unbiased=unbiased).astype(float) * 2
    for column, row in ((0, 0), (95, 127), (30, 80)):
        fraction = np.array([column / (96 - unbiased), row / (128 - unbiased), 0.5])
        assert np.abs(crop.to_picture(fraction)[:2] - shown[row, column, :2]).max() < 2
        assert crop.to_picture(fraction)[2] == 0.5


# --- layouts


def test_wholebody_points_are_ours() -> None:
    """Against COCO-WholeBody's own order: 17 body points, 6 of the feet, 68 of the face, 21 of each hand."""
    points = np.random.default_rng(0).uniform(0.1, 0.9, (133, 3)).astype(np.float32)
    person = person_from(points)
    left, right = points[[5, 7, 9]], points[[6, 8, 10]]
    np.testing.assert_array_equal(person.body[5:8], left)
    np.testing.assert_array_equal(person.body[2:5], right)
    np.testing.assert_array_equal(person.body[[0, 14, 15, 16, 17]], points[[0, 2, 1, 4, 3]])
    np.testing.assert_array_equal(person.body[[8, 9, 10, 11, 12, 13]], points[[12, 14, 16, 11, 13, 15]])
    np.testing.assert_array_equal(person.left_hand, points[91:112])
    np.testing.assert_array_equal(person.right_hand, points[112:])
    np.testing.assert_array_equal(person.face[:68], points[23:91])
    np.testing.assert_allclose(person.body[1], [*(left[0] + right[0])[:2] / 2, min(left[0, 2], right[0, 2])])
    np.testing.assert_allclose(person.face[69, :2], points[[23 + 43, 23 + 44, 23 + 46, 23 + 47], :2].mean(0), rtol=1e-6)
    with pytest.raises(ValueError, match="17 points: choose a whole-body one"):
        person_from(points[:17])


def test_sapiens_fingers_are_counted_from_the_palm() -> None:
    points = np.zeros((308, 3), np.float32)
    points[:, 0] = np.arange(308)
    person = person_from(points)
    assert person.right_hand[:6, 0].tolist() == [41, 24, 23, 22, 21, 28]
    assert person.left_hand[:6, 0].tolist() == [62, 45, 44, 43, 42, 49]
    assert person.body[[1, 4, 7], 0].tolist() == [69, 41, 62]


# --- which person


def person_at(x: float, size: float = 0.2) -> np.ndarray:
    return np.array([x - size / 2, 0.3, x + size / 2, 0.3 + 2 * size])


def film(*people: dict[int, np.ndarray], frames: int = 30) -> dict[int, np.ndarray]:
    """Boxes frame by frame, in an order that changes."""
    rng = np.random.default_rng(0)
    found = {}
    for t in range(frames):
        boxes = [person[t] for person in people if t in person]
        found[t] = np.array(boxes).reshape(-1, 4)[rng.permutation(len(boxes))]
    return found


def test_two_persons_stay_who_they_are() -> None:
    left = {t: person_at(0.2 + 0.003 * t) for t in range(30)}
    right = {t: person_at(0.7 - 0.003 * t, 0.25) for t in range(30) if t not in (7, 8)}
    tracks = persons.followed(film(left, right))
    assert len(tracks) == 2
    assert persons.largest(tracks).keys() == right.keys()
    for choice, true in ((persons.numbered(0), left), (persons.nearest((0.1, 0.5)), left), (persons.numbered(1), right)):
        boxes = persons.boxes_of(choice(tracks), 30)
        np.testing.assert_allclose([boxes[t] for t in true], list(true.values()))
    # Not found in two frames: blended.
    np.testing.assert_allclose(persons.boxes_of(persons.numbered(1)(tracks), 30)[7], person_at(0.7 - 0.021, 0.25))
    with pytest.raises(ValueError, match="index must be less"):
        persons.numbered(2)(tracks)


def test_who_stays_does_not_become_the_one_who_leaves() -> None:
    leaves = {t: person_at(0.2, 0.3) for t in range(12)}
    stays = {t: person_at(0.7) for t in range(30)}
    returns = {t: person_at(0.95, 0.1) for t in range(25, 30)}
    first, second = persons.followed(film(leaves, stays, returns))
    for track in (first, second):
        assert track.keys() in ({*leaves, *returns}, stays.keys())
    # Somebody new who is there at once is nobody who has just left.
    new = {t: person_at(0.95, 0.1) for t in range(13, 30)}
    assert len(persons.followed(film(leaves, stays, new))) == 3


def test_one_person_is_one_across_a_cut() -> None:
    before, after = {t: person_at(0.2) for t in range(10)}, {t: person_at(0.8, 0.1) for t in range(10, 20)}
    (track,) = persons.followed(film(before, after, frames=20))
    assert len(track) == 20
    assert persons.followed(film(frames=3)) == []


def test_some_frames_are_looked_at_and_the_last() -> None:
    frames = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(3, axis=-1)
    done = []
    found = persons.look(
        lambda picture: np.full((1, 4), picture.max()), torch.from_numpy(frames).float() / 255, every=4, progress=done.append
    )
    assert {frame: boxes[0, 0] for frame, boxes in found.items()} == {0: 0, 4: 4, 8: 8, 9: 9}
    assert done == [1, 2, 3, 4]


# --- BOUNDING_BOX


def test_bounding_boxes_are_read_as_native_nodes_write_them() -> None:
    one = {"x": 40, "y": 20, "width": 80, "height": 60}
    expected = [[0.2, 0.2, 0.6, 0.8]]
    for given in (one, [one], [[one]]):
        np.testing.assert_allclose(boxes_in(given, 3, 200, 100)[0], expected)
    chair, outside = one | {"label": "chair"}, one | {"x": 300}
    found = boxes_in([[chair, one | {"label": "person"}], [], [outside]], 3, 200, 100)
    assert [len(boxes) for boxes in found.values()] == [1, 0, 0]
    np.testing.assert_allclose(found[0], expected)
    with pytest.raises(ValueError, match="boxes for 2 frames, and there are 3"):
        boxes_in([[one], [one]], 3, 200, 100)
    for given in ("box", [{"x": 1}], [[1, 2, 3, 4]]):
        with pytest.raises(ValueError, match="not a list of x, y, width and height"):
            boxes_in(given, 1, 200, 100)
