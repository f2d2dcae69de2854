"""How a whole run plans, keeps and shows what it does, without ComfyUI."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from apoavatar_core.evaluation.contact_sheet import HAND_SHARE, chosen_frames, contact_sheet
from apoavatar_core.pose import PersonKeypoints
from apoavatar_core.pose.keypoints import GROUPS, LEFT_WRIST, RIGHT_WRIST
from apoavatar_core.recipe.folder import Progress, alone_in
from apoavatar_core.recipe.pictures import curve, smoothed
from apoavatar_core.recipe.plan import REHEARSED, fitted, settled
from apoavatar_core.recipe.settings import RECIPE, Clips, read_recipe
from apoavatar_core.settings import build, changed
from apoavatar_core.training.ahead import made_ahead
from apoavatar_core.training.config import Stage
from apoavatar_core.training.log import Log, read_log
from apoavatar_core.training.schedule import positions_at

ROOT = Path(__file__).resolve().parents[2]
STAGE = Stage(steps=100, batch=3, latent_frames=2, learning_rate=1, final_learning_rate=1)


def rehearsal_of(seconds: tuple[float, ...]):
    """A training whose stages take so many seconds a step, and longer for the first steps of each."""

    def rehearse(stages, folder: Path) -> Path:
        assert all(stage.steps <= REHEARSED for stage in stages)
        folder.mkdir()
        now, lines = 1e9, []
        for stage, each in zip(stages, seconds):
            for step in range(stage.steps):
                now += each * (9 if step < 2 else 1)
                lines.append(f'{{"step": {len(lines) + 1}, "time": {now}, "loss": 1}}\n')
        (folder / "log.jsonl").write_text("".join(lines))
        return folder / "log.jsonl"

    return rehearse


@pytest.mark.parametrize(
    ("minutes", "steps"),
    [(2.5, (50, 25)), (5, (100, 50)), (60, (100, 50)), (0.001, (1, 1)), (None, (100, 50))],
)
def test_stages_get_the_steps_that_fit_into_the_budget(tmp_path, minutes, steps) -> None:
    # 100 steps of a second and 50 of four are five minutes.
    stages = (STAGE, changed(STAGE, steps=50))
    rehearse = rehearsal_of((1, 4)) if minutes else None
    found = fitted(stages, minutes, rehearse, tmp_path / "rehearsal")
    assert found == tuple(changed(stage, steps=count) for stage, count in zip(stages, steps))
    assert not (tmp_path / "rehearsal").exists()


def test_what_is_settled_stays(tmp_path) -> None:
    path = tmp_path / "plans" / "x.json"
    assert settled(path, Stage, lambda: STAGE) == STAGE
    assert settled(path, Stage, lambda: pytest.fail("settled twice")) == STAGE


def test_the_presets_recipe_names_files_that_are_there() -> None:
    recipe = read_recipe(RECIPE)
    assert all(part.config.is_file() for part in (recipe.vae, recipe.dit, recipe.keypoints))


def test_fewer_clips_are_fewer_of_every_frame_rate() -> None:
    clips = build(Clips, {"count": 40, "others": {25: 8, 30: 2}, "minutes": 3})
    assert clips.counts == {24: 40, 25: 8, 30: 2} and clips.of(50) == clips
    assert clips.of(25) == changed(clips, count=20, others={25: 4, 30: 1})
    assert clips.of(2).counts == {24: 1, 25: 1, 30: 1}
    assert build(Clips, json.loads(clips.model_dump_json())) == clips
    with pytest.raises(ValueError, match="others: 24 is the rate of fps: count those clips in count"):
        build(Clips, {"count": 40, "others": {24: 8}})


def test_a_log_that_was_cut_off_and_repeated_counts_every_step_once(tmp_path) -> None:
    path = tmp_path / "run" / "log.jsonl"
    assert read_log(path) == []
    log = Log(path)
    log.add(1, loss=0.5)
    log.add(2, loss=0.25)
    log.add(2, psnr=30)
    first = read_log(path)
    path.open("a").write('{"step": 3, "lo')
    Log(path).add(9, loss=0.1)  # ends the broken line
    Log(path).add(2, loss=0.25)
    assert read_log(path)[:2] == first and first[1]["psnr"] == 30 and first[1]["loss"] == 0.25
    assert [entry["step"] for entry in first] == [1, 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_made_ahead_is_what_is_made_when_asked_for(workers) -> None:
    def make(number: int) -> tuple[torch.Tensor, int]:
        time.sleep(0.02 * (number % 3 == 0))  # later ones are ready first
        return torch.full((2,), number), number

    found = list(made_ahead(make, range(3, 12), workers))
    assert [number for _, number in found] == list(range(3, 12))
    assert all(torch.equal(tensor, torch.full((2,), number)) for tensor, number in found)


def test_positions_follow_each_other_over_all_stages() -> None:
    stages = (changed(STAGE, steps=2), changed(STAGE, steps=3, batch=2))
    found = [position for step in range(5) for position in positions_at(stages, step)]
    assert found == list(range(2 * 3 + 3 * 2))
    with pytest.raises(IndexError):
        positions_at(stages, 5)


HOLD = """
import multiprocessing, sys, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from apoavatar_core.data.clips import _end_with_parent
from apoavatar_core.recipe.folder import alone_in
with alone_in(Path(sys.argv[1])), ProcessPoolExecutor(2, initializer=_end_with_parent) as pool:
    list(pool.map(time.sleep, [0.1, 0.1]))
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows locks no folder")
def test_one_process_works_in_a_folder_and_when_it_is_killed_its_workers_end(tmp_path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        workers = [int(pid) for pid in other.stdout.readline().split()]
        with pytest.raises(ValueError, match="another process works in"), alone_in(tmp_path):
            pass
        other.send_signal(signal.SIGKILL)
    assert workers
    with alone_in(tmp_path):
        pass
    waiting = 60.0
    while any(is_running(pid) for pid in workers) and waiting > 0:
        time.sleep(0.1)
        waiting -= 0.1
    assert not any(is_running(pid) for pid in workers)


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie that nobody has asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_progress_adds_up_over_several_parts(tmp_path) -> None:
    Progress(tmp_path).add("vae", 10.0)
    Progress(tmp_path).add("vae", 5.0)
    assert (Progress(tmp_path).seconds("vae"), Progress(tmp_path).is_done("vae")) == (15.0, False)
    Progress(tmp_path).add("vae", 0.0, done=True)
    assert Progress(tmp_path).is_done("vae") and not Progress(tmp_path).is_done("dit")


def person(right: tuple[float, float], left: tuple[float, float]) -> PersonKeypoints:
    points = np.zeros((sum(GROUPS.values()), 3), np.float32)
    points[[RIGHT_WRIST, LEFT_WRIST]] = [(*right, 1), (*left, 1)]
    return PersonKeypoints.from_points(points)


def test_a_contact_sheet_enlarges_the_faster_hand() -> None:
    # The left hand jumps in frame 2, the right one in frame 5.
    people = [
        person((0.3, 0.7 if frame < 5 else 0.4), (0.8, 0.2 if frame < 2 else 0.6)) for frame in range(6)
    ]
    assert chosen_frames(people, 2) == [2, 5]
    film = np.zeros((6, 100, 100, 3), np.uint8)
    film[2, 55:66, 75:86, 0] = 200  # where the left hand is in frame 2
    film[5, 35:46, 25:36, 1] = 200  # and the right one in frame 5
    sheet = contact_sheet([film, film // 2], people, [2, 5])
    assert sheet.shape == (200, 400, 3)
    assert np.array_equal(sheet[:100, :100], film[2]) and np.array_equal(sheet[100:, 200:300], film[5] // 2)
    side = 100 * HAND_SHARE
    for place, channel in ((100, 0), (300, 1)):
        tile = sheet[:100, place : place + 100, channel]
        assert tile[50, 50] == 200 and tile[0, 0] == 0
        assert (tile > 0).sum() == pytest.approx((11 / side * 100) ** 2, rel=0.1)


def test_a_curve_falls_where_its_values_do() -> None:
    places, values = smoothed(np.repeat(np.linspace(1.0, 0.1, 50), 8), points=50)
    assert values == pytest.approx(np.linspace(1.0, 0.1, 50)) and places[0] == 3.5
    picture = curve("loss", places, values).astype(int)
    inked = [np.nonzero(column)[0].mean() for column in (picture[40:200, 70:540].min(2) < 170).T if column.any()]
    assert inked[0] < inked[len(inked) // 2] < inked[-1]
