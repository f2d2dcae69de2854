"""Films with sidecars as training data: what is read from real files, how little of them is, and what is said about
unusable ones.
"""

from __future__ import annotations

import json
import math
import sys
import tarfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from apoavatar_core.data import film as film_module
from apoavatar_core.data import poses
from apoavatar_core.data.clips import ClipFormat
from apoavatar_core.data.film import Film, fit
from apoavatar_core.data.films import VideoFolder, read_pose
from apoavatar_core.data.shards import ShardFolder
from apoavatar_core.data.sources import source_in
from apoavatar_core.pose.keypoints import from_frame
from apoavatar_core.waveform import resampled

PRESENTER = Path(__file__).resolve().parents[2] / "workflows" / "assets" / "presenter.png"
SIZE, RATE = 32, 22_050
FORMAT = ClipFormat(SIZE, SIZE, frames=17, fps=24)


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
            mux_sound(container, audio, tone[None], RATE, start=0)


def mux_sound(container, stream, samples: np.ndarray, rate: int, start: float) -> None:
    layout = {1: "mono", 2: "stereo"}[len(samples)]
    piece = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
    piece.sample_rate, piece.time_base, piece.pts = rate, Fraction(1, rate), round(start * rate)
    for packet in (stream.encode(piece), stream.encode()):
        container.mux(packet)


@pytest.fixture
def folder(tmp_path) -> Path:
    write_film(tmp_path / "talk.mp4", frames=24, fps=12)
    (tmp_path / "talk.txt").write_text("a grey wall\n")
    return tmp_path


def source(folder: Path) -> VideoFolder:
    return VideoFolder(folder, FORMAT)


def test_a_film_becomes_pieces_at_the_wanted_rate_and_size(folder) -> None:
    assert source(folder).names() == ["talk_0000", "talk_0001"]
    clip = source(folder).load("talk_0001")
    assert clip.frames.shape == (17, SIZE, SIZE, 3)
    # 48 frames at 24 fps show each of the 24 frames twice; the second piece starts at its 17th.
    expected = [4 * ((17 + t) // 2) for t in range(17)]
    assert np.abs(clip.frames.mean((1, 2, 3)) - expected).max() < 2
    assert clip.caption == "a grey wall"


def test_a_film_is_cut_to_its_very_last_frame(folder) -> None:
    films = VideoFolder(folder, ClipFormat(SIZE, SIZE, frames=16, fps=24))
    assert films.names() == ["talk_0000", "talk_0001", "talk_0002"]
    assert np.abs(films.load("talk_0002").frames[-2:].mean((1, 2, 3)) - 4 * 23).max() < 2
    with pytest.raises(ValueError, match="talk.mp4 has no 16 frames from 2.00 s on"):
        films.load("talk_0003")


def test_a_piece_carries_the_sound_of_the_whole_film_and_knows_its_own(folder) -> None:
    first, second = (source(folder).load(name) for name in ("talk_0000", "talk_0001"))
    assert (first.first, second.first) == (0, 17)
    assert len(first.voice.samples) == len(second.voice.samples) == 32_000
    quiet, loud = (clip.voice.piece(clip.first, 17, 24) for clip in (first, second))
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


@pytest.fixture
def walk(tmp_path) -> Path:
    """Ten frames of the drawn presenter, who moves to the right by 6 pixels a frame."""
    presenter = Image.open(PRESENTER).convert("RGB").resize((256, 256))
    with av.open(str(tmp_path / "walk.mp4"), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 320, 256, "yuv420p"
        for n in range(10):
            picture = np.full((256, 320, 3), presenter.getpixel((0, 0)), np.uint8)
            picture[:, 6 * n : 6 * n + 256] = presenter
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
    return tmp_path


def test_poses_are_found_and_written_beside_the_films(walk, monkeypatch, capsys) -> None:
    monkeypatch.setattr(poses, "AT_ONCE", 4)
    monkeypatch.setattr(poses, "LONGEST_SIDE", 240)
    (walk / "broken.mp4").write_bytes(b"no film")
    (walk / "known.mp4").write_bytes(b"not looked at")
    (walk / "known.pose.json").write_text("[]")
    poses.write_poses(walk)
    said = capsys.readouterr().out
    assert "walk.pose.json: 10 frames, nobody in 0 of them" in said and "skipped broken.mp4: " in said and "known" not in said
    assert not (walk / "broken.pose.json").exists() and (walk / "known.pose.json").read_text() == "[]"
    frames = json.loads((walk / "walk.pose.json").read_text())
    assert {(frame["canvas_width"], frame["canvas_height"]) for frame in frames} == {(240, 192)}
    necks = [from_frame(frame).points[1, 0] * 320 for frame in frames]
    assert np.diff(necks)[1:] == pytest.approx(6, abs=2) and 45 < necks[-1] - necks[0] < 58  # the first is smoothed the most
    assert read_pose((walk / "walk.pose.json").read_bytes(), Film(walk / "walk.mp4", "walk.mp4")) == frames
    with pytest.raises(ValueError, match="holds no .mp4 films"):
        poses.write_poses(walk / "known.pose.json")


def test_every_picture_of_a_film_comes_once(folder) -> None:
    pictures = list(Film(folder / "talk.mp4", "talk.mp4").each_picture())
    assert [int(picture[0, -1, 0]) for picture in pictures] == pytest.approx([4 * n for n in range(24)], abs=2)


def test_a_film_without_pose_has_nobody_in_it(folder) -> None:
    assert all(frame["people"] == [] for frame in source(folder).load("talk_0000").keypoints)


class CountingFilm(Film):
    """Counts what its decoders give."""

    def __init__(self, path: Path):
        super().__init__(path, path.name)
        self.decoded = 0

    def _decoded(self, stream, since):
        for frame in super()._decoded(stream, since):
            self.decoded += 1
            yield frame


OPEN_GROUPS = {"x264-params": "open-gop=1:keyint=20:min-keyint=20:scenecut=0:b-adapt=0:bframes=3"}
NO_KEYS = {"x264-params": "keyint=infinite:scenecut=0"}
KINDS = {
    "constant rate": ("long.mp4", {}, 0, 1),
    "varying rate": ("long.mp4", {}, 0, 3),
    "pictures before their key frame": ("long.mp4", OPEN_GROUPS, 0, 3),
    "one key frame": ("long.mp4", NO_KEYS, 0, 1),
    "a later start": ("long.mp4", {}, 3, 3),
    "a start before the sound's": ("long.mp4", {}, -1, 3),
    "times in milliseconds": ("long.mkv", OPEN_GROUPS, 0, 3),
}
"""File, the encoder's options, the second at which pictures begin, and how many lengths of time they take turns in."""


@pytest.fixture(params=KINDS, scope="module")
def long_film(request, tmp_path_factory) -> Path:
    """Twelve seconds of noise, 144 pictures with a key frame every 20 and lossless stereo sound at 22.05 kHz."""
    name, options, start, rhythm = KINDS[request.param]
    path = tmp_path_factory.mktemp("film") / name
    rng, unit = np.random.default_rng(0), 12_000
    sound_start = max(start, 0) + 0.25 * (start < 0)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=12)
        video.width, video.height, video.pix_fmt = SIZE, SIZE, "yuv420p"
        video.options = options or {"x264-params": "keyint=20:min-keyint=20:scenecut=0"}
        video.codec_context.time_base = Fraction(1, unit)
        audio = container.add_stream("flac", rate=RATE, layout="stereo")
        time = max(start, 0) * unit
        for n in range(144):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, unit)
            time += (1000, 500, 1500)[n % rhythm]
            container.mux(video.encode(frame))
        container.mux(video.encode())
        sound = rng.uniform(-0.5, 0.5, (2, 12 * RATE)).astype(np.float32)
        mux_sound(container, audio, sound, RATE, sound_start)
    return path


def whole(path: Path) -> tuple[list[float], list[np.ndarray], np.ndarray]:
    """All of a film, decoded from its beginning: times from its start, pictures, and sound [2, S] from the start on."""
    with av.open(str(path)) as container:
        start = container.start_time / av.time_base
        shown = [(frame.time - start, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        planar = av.AudioResampler(format="fltp")
        decoded = list(container.decode(audio=0))
        silence = np.zeros((2, round((decoded[0].time - start) * RATE)), np.float32)
        sound = np.concatenate([silence, *(planar.resample(frame)[0].to_ndarray() for frame in decoded)], axis=1)
    return [time for time, _ in shown], [picture for _, picture in shown], sound


@pytest.mark.parametrize("fps", [24, 10])
def test_a_part_of_a_film_is_what_decoding_all_of_it_gives(long_film, fps) -> None:
    times, pictures, _ = whole(long_film)
    film = Film(long_film, "film")
    for first in (7 * fps, 0, fps // 2, 4 * fps, 10 * fps):
        found, numbers = film.pictures(first, 9, fps, SIZE, SIZE)
        moments = [(first + t) / fps for t in range(9)]
        expected = [max([n for n, time in enumerate(times) if time < moment + 1e-6], default=0) for moment in moments]
        assert numbers.tolist() == expected
        assert np.array_equal(found, np.stack([pictures[n] for n in expected]))
    assert film.begins.tolist() == sorted(film.begins) and len(film.begins) == 144


def test_a_part_of_the_sound_is_what_decoding_all_of_it_gives(long_film) -> None:
    _, _, sound = whole(long_film)
    film = Film(long_film, "film")
    for start in (7.3, 0.0, 0.7, 11.0):
        first, count = round(start * RATE), 2 * RATE
        expected = np.zeros((2, count), np.float32)
        expected[:, : max(0, sound.shape[1] - first)] = sound[:, first : first + count]
        # Half a millisecond is what Matroska rounds times by.
        shifts = range(-11, 12) if long_film.suffix == ".mkv" else [0]
        assert any(np.array_equal(film.samples(first + k, first + k + count), expected) for k in shifts)
        if len(shifts) > 1:
            continue
        ours, theirs = film.speech(start, 1.0), resampled(sound, RATE)[:, round(start * 16_000) :][:, :16_000]
        assert ours.shape == (2, 16_000)
        # Before the first and behind the last sample of all a resampler takes for heard what it likes.
        inner = slice(50, min(theirs.shape[1], 15_900))
        assert np.abs(ours[:, inner] - theirs[:, inner]).max() < 1e-4


def test_the_sound_of_a_long_film_is_decoded_part_by_part(long_film, monkeypatch) -> None:
    if long_film.suffix == ".mkv":
        pytest.skip("Matroska rounds times, by which parts may be shifted")
    at_once = Film(long_film, "film").voice.samples
    monkeypatch.setattr(film_module, "AT_ONCE", 5.0)
    in_parts = Film(long_film, "film").voice.samples
    assert at_once.shape == in_parts.shape and np.abs(at_once).max() > 0.1
    assert np.abs(at_once - in_parts).max() < 1e-4


def test_lossy_sound_is_the_same_from_the_middle_on(folder) -> None:
    film, rate = Film(folder / "talk.mp4", "talk.mp4"), RATE
    everything, part = film.samples(0, 2 * rate), film.samples(rate, rate + 5000)
    assert np.abs(everything[:, rate : rate + 5000]).max() > 0.3
    assert np.abs(part - everything[:, rate : rate + 5000]).max() < 1e-5


@pytest.mark.parametrize("long_film", ["constant rate", "pictures before their key frame"], indirect=True)
def test_a_part_costs_no_more_at_the_end_of_a_film_than_at_its_beginning(long_film) -> None:
    film, costs = CountingFilm(long_film), []
    for second in (0, 10):
        for read in (lambda: film.pictures(12 * second, 13, 12, SIZE, SIZE), lambda: film.speech(second, 1)):
            film.decoded = 0
            read()
            costs.append(film.decoded)
    early_pictures, early_sound, late_pictures, late_sound = costs
    # Thirteen pictures, and those from the key frame before: 20 at most, and 20 where that one is shown too late.
    assert late_pictures <= 13 + 2 * 20 + 1
    assert early_pictures <= 13 + 20 + 1
    assert late_sound <= early_sound + math.ceil(0.5 * RATE / 4096) + 1


def test_the_decoder_starts_no_earlier_than_it_must(long_film, request) -> None:
    film = CountingFilm(long_film)
    film.pictures(140, 1, 12, SIZE, SIZE)
    if "one key frame" not in request.node.callspec.id:
        assert film.decoded <= 2 * 20 + 1


TURNED = bytes.fromhex("00000000 00010000 00000000 ffff0000 00000000 00000000 00000000 00000000 40000000")
UNTURNED = bytes.fromhex("00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000")


def test_a_film_that_was_taken_sideways_stands_upright(tmp_path) -> None:
    path = tmp_path / "telephone.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=12)
        video.width, video.height, video.pix_fmt, video.options = 2 * SIZE, SIZE, "yuv444p", {"crf": "1"}
        picture = np.zeros((SIZE, 2 * SIZE, 3), np.uint8)
        picture[:, :SIZE] = 200  # the left half, which a quarter turn to the right puts on top
        for _ in range(2):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
    content = path.read_bytes()
    track = content.index(b"tkhd")
    place = content.index(UNTURNED, track)
    path.write_bytes(content[:place] + TURNED + content[place + len(TURNED) :])
    frames, _ = Film(path, "telephone.mp4").pictures(0, 1, 12, SIZE, 2 * SIZE)
    assert frames[0, :SIZE].mean() > 190 and frames[0, SIZE + 2 :].mean() < 10


def test_a_picture_is_cropped_in_the_middle() -> None:
    picture = np.zeros((40, 100, 3), np.uint8)
    picture[:, 30:70] = 255
    assert (fit(picture, 20, 20) == 255).all()
    assert (fit(picture.transpose(1, 0, 2), 20, 20) == 255).all()
    assert (fit(picture, 50, 20)[:, [0, -1]] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "talk.txt").unlink(), "talk.mp4 has no caption: write .* into talk.txt"),
        (lambda folder: (folder / "talk.txt").write_text(" \n"), "talk.txt is empty: write what the film shows into it"),
        (lambda folder: (folder / "talk.txt").write_bytes(b"caf\xe9"), "talk.txt is no text in UTF-8"),
        (lambda folder: (folder / "talk.pose.json").write_text("[1]"), "talk.pose.json has 1 frames and talk.mp4 24"),
        (lambda folder: (folder / "talk.pose.json").write_text("[1,"), "talk.pose.json is no JSON"),
        (lambda folder: (folder / "talk.pose.json").write_text("{}"), "talk.pose.json is no list of OpenPose frames"),
        (lambda folder: write_film(folder / "talk.mp4", 20, 12, sound=False), "talk.mp4 has no sound"),
        (lambda folder: write_film(folder / "talk.mp4", 4, 12), "talk.mp4 has no 17 frames"),
        (lambda folder: write_sound(folder / "talk.mp4"), "talk.mp4 has no pictures"),
        (lambda folder: (folder / "talk.mp4").write_bytes(b"no film"), "talk.mp4 cannot be decoded"),
    ],
)
def test_an_unusable_film_is_named(folder, change: Callable[[Path], None], message: str) -> None:
    change(folder)
    assert source(folder).names()[0] == "talk_0000"
    with pytest.raises(ValueError, match=message):
        source(folder).load("talk_0000")


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        mux_sound(container, container.add_stream("aac", rate=RATE), np.zeros((1, RATE), np.float32), RATE, 0)


def test_half_a_film_is_named(folder) -> None:
    content = bytearray((folder / "talk.mp4").read_bytes())
    start = content.index(b"mdat") + 4
    content[start : start + 2000] = bytes(2000)
    (folder / "talk.mp4").write_bytes(content)
    with pytest.raises(ValueError, match="talk.mp4 cannot be decoded"):
        source(folder).load("talk_0000")


def write_shard(path: Path, folder: Path, clips: int) -> None:
    with tarfile.open(path, "w") as tar:
        for number in range(clips):
            tar.add(folder / "talk.mp4", f"{number}/talk.mp4")
            tar.add(folder / "talk.txt", f"{number}/talk.txt")


def test_a_shard_holds_the_same_clips_as_a_folder(folder, tmp_path_factory) -> None:
    shards = tmp_path_factory.mktemp("shards")
    (folder / "odd.txt").write_text("a caption without a film")
    (folder / "talk.pose.json").write_text(json.dumps([{"people": [], "canvas_width": n} for n in range(24)]))
    with tarfile.open(shards / "part-0001.tar", "w") as tar:
        tar.add(folder / "odd.txt", "odd.txt")
        tar.add(folder / "talk.txt", "../talk.other.txt")
        tar.add(folder / "talk.mp4", "a/talk.mp4")
        tar.add(folder / "talk.pose.json", "a/talk.pose.json")
        tar.add(folder / "talk.txt", "a/talk.txt")
    found = ShardFolder(shards, FORMAT)
    assert found.names() == ["part-0001_000000_0000", "part-0001_000000_0001"]
    for piece in ("0001", "0000"):
        ours, theirs = found.load(f"part-0001_000000_{piece}"), source(folder).load(f"talk_{piece}")
        assert np.array_equal(ours.frames, theirs.frames) and ours.first == theirs.first
        assert np.array_equal(ours.voice.samples, theirs.voice.samples)
        assert ours.caption == theirs.caption and ours.keypoints == theirs.keypoints


def test_an_unreadable_shard_and_an_unusable_clip_in_one_are_named(folder, tmp_path_factory) -> None:
    shards = tmp_path_factory.mktemp("shards")
    (shards / "broken.tar").write_bytes(b"no tar at all" * 100)
    with tarfile.open(shards / "mute.tar", "w") as tar:
        tar.add(folder / "talk.mp4", "one/talk.mp4")
    found = ShardFolder(shards, FORMAT)
    assert found.names()[0] == "broken_000000_0000"
    with pytest.raises(ValueError, match="broken.tar cannot be read"):
        found.load("broken_000000_0000")
    with pytest.raises(ValueError, match="mute.tar, clip 000000: talk.mp4 has no caption: write .* into talk.txt"):
        found.load("mute_000000_0000")


OPENED: list[str] = []
"""Paths that this process has opened since `count_openings` was asked for."""


@pytest.fixture(scope="module")
def count_openings() -> Callable[[Path], int]:
    sys.addaudithook(lambda event, values: OPENED.append(str(values[0])) if event == "open" else None)
    return lambda path: OPENED.count(str(path))


def test_shards_are_opened_as_often_whatever_they_hold(folder, tmp_path_factory, count_openings) -> None:
    shards = tmp_path_factory.mktemp("shards")
    paths = [shards / "few.tar", shards / "many.tar"]
    for path, clips in zip(paths, (1, 12)):
        write_shard(path, folder, clips)
    before = [count_openings(path) for path in paths]
    found = ShardFolder(shards, FORMAT)
    names = found.names()
    assert len(names) == 2 * (1 + 12)
    for name in names:
        found.load(name)
    # Once to list it and once to read it; the last one stays open in between.
    assert [count_openings(path) - earlier for path, earlier in zip(paths, before)] == [2, 2]


def test_a_folder_says_what_it_holds(folder, tmp_path_factory) -> None:
    films = source_in(folder, fps=25.0, width=None)
    assert isinstance(films, VideoFolder) and films.format == ClipFormat(fps=25.0)
    shards = tmp_path_factory.mktemp("shards")
    write_shard(shards / "a.tar", folder, 1)
    assert isinstance(source_in(shards), ShardFolder)
    with pytest.raises(ValueError, match="holds no synthetic clips, no .mp4 films and no .tar shards"):
        source_in(tmp_path_factory.mktemp("empty"))
    with pytest.raises(ValueError, match="fps is 0"):
        source_in(folder, fps=0.0)
