"""Films with sidecars as training data: what is read from real files, and what is said about unusable ones."""

from __future__ import annotations

import json
import tarfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from apoavatar_core.data.films import VideoFolder
from apoavatar_core.data.shards import ShardFolder

SIZE, RATE = 32, 22_050


def write_film(path: Path, frames: int, fps: int, sound: bool = True) -> None:
    """Frame number n is grey of brightness 4n; the sound is a tone that starts after half of the film."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt, video.options = 2 * SIZE, SIZE, "yuv444p", {"crf": "1"}
        audio = container.add_stream("aac", rate=RATE) if sound else None
        for n in range(frames):
            picture = np.full((SIZE, 2 * SIZE, 3), 4 * n, np.uint8)
            picture[:, : SIZE // 2] = 255  # what the crop to a square takes off
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        if audio:
            time = np.arange(RATE * frames // fps) / RATE
            tone = (0.5 * np.sin(2 * np.pi * 440 * time) * (time > time[-1] / 2)).astype(np.float32)
            piece = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
            piece.sample_rate, piece.time_base, piece.pts = RATE, Fraction(1, RATE), 0
            container.mux(audio.encode(piece))
            container.mux(audio.encode())


@pytest.fixture
def folder(tmp_path) -> Path:
    write_film(tmp_path / "talk.mp4", frames=24, fps=12)
    (tmp_path / "talk.txt").write_text("a grey wall\n")
    return tmp_path


def source(folder: Path) -> VideoFolder:
    return VideoFolder(folder, frames=17, width=SIZE, height=SIZE, fps=24)


def test_a_film_becomes_pieces_at_the_wanted_rate_and_size(folder) -> None:
    assert source(folder).names() == ["talk_0000", "talk_0001"]
    clip = source(folder).load("talk_0001")
    assert clip.frames.shape == (17, SIZE, SIZE, 3)
    # 48 frames at 24 fps show each of the 24 frames twice; the second piece starts at its 17th.
    expected = [4 * ((17 + t) // 2) for t in range(17)]
    assert np.abs(clip.frames.mean((1, 2, 3)) - expected).max() < 2
    assert clip.caption == "a grey wall"


def test_the_sound_of_a_piece_is_its_own(folder) -> None:
    quiet, loud = (source(folder).load(name).speech for name in ("talk_0000", "talk_0001"))
    assert len(quiet) == len(loud) == round(17 / 24 * 16_000)
    assert np.abs(quiet).max() < 0.02
    assert np.abs(loud[-4000:]).max() > 0.3
    crossings = np.diff(np.sign(loud[-6000:])).astype(bool).sum()
    assert crossings == pytest.approx(2 * 440 * 6000 / 16_000, rel=0.02)


def test_the_pose_follows_the_films_own_frames(folder) -> None:
    frames = [{"people": [], "canvas_width": n, "canvas_height": 1} for n in range(24)]
    (folder / "talk.pose.json").write_text(json.dumps(frames))
    found = [frame["canvas_width"] for frame in source(folder).load("talk_0001").keypoints]
    assert found == [(17 + t) // 2 for t in range(17)]


def test_a_film_without_pose_has_nobody_in_it(folder) -> None:
    assert all(frame["people"] == [] for frame in source(folder).load("talk_0000").keypoints)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "talk.txt").unlink(), "talk.mp4 has no caption: write .* into talk.txt"),
        (lambda folder: (folder / "talk.pose.json").write_text("[1]"), "talk.pose.json is no list with an OpenPose frame"),
        (lambda folder: write_film(folder / "talk.mp4", 24, 12, sound=False), "talk.mp4 has no sound"),
        (lambda folder: write_film(folder / "talk.mp4", 4, 12), "talk.mp4 has no 17 frames"),
        (lambda folder: (folder / "talk.mp4").write_bytes(b"no film"), "talk.mp4 cannot be decoded"),
    ],
)
def test_an_unusable_film_is_named(folder, change, message) -> None:
    change(folder)
    with pytest.raises(ValueError, match=message):
        source(folder).load("talk_0000")


def test_a_shard_holds_the_same_clips_as_a_folder(folder, tmp_path_factory) -> None:
    shards = tmp_path_factory.mktemp("shards")
    (folder / "odd.txt").write_text("a caption without a film")
    with tarfile.open(shards / "part-0001.tar", "w") as tar:
        tar.add(folder / "odd.txt", "odd.txt")
        tar.add(folder / "talk.txt", "../talk.other.txt")
        tar.add(folder / "talk.mp4", "a/talk.mp4")
        tar.add(folder / "talk.txt", "a/talk.txt")
    found = ShardFolder(source(shards))
    assert found.names() == ["part-0001_000000_0000", "part-0001_000000_0001"]
    ours, theirs = found.load("part-0001_000000_0001"), source(folder).load("talk_0001")
    assert np.array_equal(ours.frames, theirs.frames) and np.array_equal(ours.speech, theirs.speech)
    assert ours.caption == theirs.caption


def test_an_unreadable_shard_and_an_unusable_clip_in_one_are_named(folder, tmp_path_factory) -> None:
    shards = tmp_path_factory.mktemp("shards")
    (shards / "broken.tar").write_bytes(b"no tar at all" * 100)
    with tarfile.open(shards / "mute.tar", "w") as tar:
        tar.add(folder / "talk.mp4", "one/talk.mp4")
    found = ShardFolder(source(shards))
    assert found.names()[0] == "broken_000000_0000"
    with pytest.raises(ValueError, match="broken.tar cannot be read"):
        found.load("broken_000000_0000")
    with pytest.raises(ValueError, match="mute.tar, clip 000000: clip.mp4 has no caption"):
        found.load("mute_000000_0000")
