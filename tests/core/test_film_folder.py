"""Unfinished films on disk: what is left after kills, damage, full disks and other jobs, and what is said about it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apoavatar_core.locks import InUse, locked
from apoavatar_core.long_video import folder as folder_module
from apoavatar_core.long_video.__main__ import main
from apoavatar_core.long_video.folder import FilmFolder, open_film, remove, resumable
from apoavatar_core.long_video.segments import Encoding
from apoavatar_core.long_video.state import STATE, read_state

ROOT = Path(__file__).resolve().parents[2]
WRITER = Path(__file__).with_name("film_writer.py")
ENCODING = Encoding(Fraction(25))
KEY, OTHER = "0123456789abcdef0123", "fedcba98765432100123"
posix = pytest.mark.skipif(os.name != "posix", reason="kills and limits as POSIX has them")


def opened(root: Path, key: str = KEY, **words: str):
    return open_film(root, "talk", key, words or {"seed": "1"})


def add_windows(film: FilmFolder, count: int) -> None:
    for _ in range(count):
        number = film.position
        film.keep(torch.full((4, 16, 16, 3), number / 10), ENCODING, {"motion": torch.full((2,), number)})


def begin(root: Path, windows: int, key: str = KEY, **words: str) -> Path:
    """An unfinished film of so many windows, its job over."""
    with opened(root, key, **words) as film:
        add_windows(film, windows)
    return film.path


@pytest.fixture
def folder_in_memory():
    """A folder of which fsync takes no time, where there is one; killed, a process leaves the same there as on a disk."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        yield folder


@posix
@pytest.mark.parametrize(("mode", "films"), [("operations", 30), ("moments", 7)])
def test_a_killed_process_leaves_the_old_state_or_the_new_one(folder_in_memory, mode, films) -> None:
    command = [sys.executable, str(WRITER), folder_in_memory, mode]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(run.stdout.split()[-1]) >= films


def test_a_film_goes_on_and_says_so(tmp_path) -> None:
    begin(tmp_path, 2)
    with opened(tmp_path) as film:
        assert (film.position, film.frames) == (2, 8)
        assert film.carried()["motion"].tolist() == [1, 1]
        assert len(film.said) == 1 and "goes on after its 2 finished windows (8 frames)" in film.said[0]
        add_windows(film, 1)
        assert film.join(tmp_path / "film.mp4", Fraction(25)) == 12
        film.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]
    with opened(tmp_path) as film:
        assert (film.position, film.said) == (0, [])


def test_tensors_come_back_bit_for_bit(tmp_path) -> None:
    carried = {"latents": torch.randn(1, 16, 3, 4, 4), "half": torch.randn(5).to(torch.bfloat16), "count": torch.tensor(7)}
    with opened(tmp_path) as film:
        film.keep(torch.zeros(1, 16, 16, 3), ENCODING, carried)
    with opened(tmp_path) as film:
        found = film.carried()
    assert found.keys() == carried.keys()
    assert all(found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in carried.items())


def test_a_window_may_carry_nothing(tmp_path) -> None:
    with opened(tmp_path) as film:
        add_windows(film, 1)
        film.keep(torch.zeros(1, 16, 16, 3), ENCODING, {})
        assert film.carried() == {}
    assert not list(film.path.glob("*.safetensors"))


def test_other_inputs_begin_a_film_of_their_own_and_say_what_differs(tmp_path) -> None:
    before = begin(tmp_path, 1, seed="1", steps="20", pose="wave.mp4")
    with opened(tmp_path, OTHER, seed="2", steps="20", cfg="5") as film:
        assert film.position == 0 and film.path != before
        (sentence,) = film.said
        assert "seed is 2 and was 1, cfg is 5 and was not set, pose is not set and was wave.mp4;" in sentence
        assert str(before) in sentence and "1 windows, 4 frames" in sentence
        add_windows(film, 1)
    with opened(tmp_path, seed="1", steps="20", pose="wave.mp4") as film:
        assert (film.position, len(film.said)) == (1, 1)


def test_inputs_that_differ_without_words_are_said_too(tmp_path) -> None:
    begin(tmp_path, 1)
    with opened(tmp_path, OTHER) as film:
        assert "for an input changed" in film.said[0]


def test_films_of_another_kind_and_empty_ones_are_not_compared(tmp_path) -> None:
    begin(tmp_path, 0, seed="5")
    with open_film(tmp_path, "other", OTHER, {"seed": "2"}) as film:
        add_windows(film, 1)
    with opened(tmp_path, OTHER, seed="3") as film:
        assert film.said == []


def test_keys_that_begin_alike_do_not_mix(tmp_path) -> None:
    begin(tmp_path, 1, KEY)
    with opened(tmp_path, KEY[:16] + "9999") as film:
        assert film.position == 0 and "made from other inputs: it begins anew" in film.said[0]




@pytest.mark.parametrize("name", ["000000.mp4", "000001.mp4", "000001.safetensors", STATE])
@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "gone"])
def test_damaged_films_begin_anew_and_say_so(tmp_path, name, damage) -> None:
    path = begin(tmp_path, 2) / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        changed = content[:middle] + bytes([content[middle] ^ 0x80]) + content[middle + 1 :]
        path.write_bytes({"cut": content[:-1], "empty": b"", "changed": changed}[damage])
    with opened(tmp_path) as film:
        assert (film.position, film.carried()) == (0, {})
        assert (name, damage) == (STATE, "gone") or "it begins anew" in film.said[0]
        assert {path.name for path in film.path.iterdir()} == {"lock", STATE}
        add_windows(film, 1)
    with opened(tmp_path) as film:
        assert film.position == 1


documents = st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda value: json.dumps(value).encode())


@given(st.binary(max_size=30) | documents)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_whatever_a_state_holds_is_said_in_one_sentence(tmp_path, content) -> None:
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read"):
        read_state(tmp_path)


@pytest.mark.parametrize("name", ["../other.mp4", "/etc/passwd", ".mp4", "000000.pickle"])
def test_a_state_names_no_files_but_its_own(tmp_path, name) -> None:
    path = begin(tmp_path, 1) / STATE
    state = json.loads(path.read_text())
    state["carried"]["name"] = name
    path.write_text(json.dumps(state))
    with pytest.raises(ValueError, match="cannot be read"):
        read_state(path.parent)


def test_another_version_begins_anew_and_says_so(tmp_path) -> None:
    path = begin(tmp_path, 1) / STATE
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    with opened(tmp_path) as film:
        assert film.position == 0 and "version 99" in film.said[0]


@posix
def test_a_full_disk_is_one_sentence_and_the_film_stays(tmp_path) -> None:
    import resource

    noise = torch.rand(12, 64, 64, 3)
    carried = {"motion": torch.randn(1000)}
    small, long = torch.zeros(1, 16, 16, 3), "x" * 5000
    with opened(tmp_path, seed="1", note=long) as film:
        add_windows(film, 1)
        before = {path.name: path.read_bytes() for path in film.path.iterdir()}
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        # Files that may not grow fail as on a full disk: the segment, the tensors, the state.
        for frames, tensors, failing in ((noise, {}, "000001.mp4"), (small, carried, "000001.safetensors"), (small, {}, STATE)):
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
            try:
                with pytest.raises(OSError, match="free some space") as refused:
                    film.keep(frames, ENCODING, tensors)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            assert "after the 1 windows" in str(refused.value) and os.strerror(errno.EFBIG) in str(refused.value)
            assert film.position == 1
            # What was written before the file that failed is left over until the film is opened again.
            assert (film.path / failing).exists() == (failing == STATE)
            assert {name: (film.path / name).read_bytes() for name in before} == before
        add_windows(film, 1)
    with opened(tmp_path, seed="1", note=long) as film:
        assert film.position == 2 and film.carried()["motion"].tolist() == [1, 1]


@posix
def test_a_film_that_cannot_be_joined_leaves_no_half_of_it(tmp_path) -> None:
    import resource

    with opened(tmp_path) as film:
        film.keep(torch.rand(4, 64, 64, 3), ENCODING, {})
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        try:
            with pytest.raises(OSError, match="free some space"):
                film.join(tmp_path / "film.mp4", Fraction(25))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == [film.path.name]


def test_wrong_frames_leave_the_film_as_it_was(tmp_path) -> None:
    with opened(tmp_path) as film:
        add_windows(film, 1)
        with pytest.raises(ValueError, match="The frames have shape"):
            film.keep(torch.zeros(0, 16, 16, 3), ENCODING, {})
        add_windows(film, 1)
        assert film.position == 2


def test_two_jobs_of_one_process_do_not_mix(tmp_path) -> None:
    with opened(tmp_path) as film:
        with pytest.raises(ValueError, match=f"process {os.getpid()}: wait for that job"), opened(tmp_path):
            pass
        add_windows(film, 1)
        with opened(tmp_path, OTHER) as other:
            add_windows(other, 2)
        assert film.position == 1
    with opened(tmp_path) as film:
        assert film.position == 1


HOLDER = """
import sys, time
from pathlib import Path
from apoavatar_core.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@posix
def test_the_lock_of_another_process_holds_as_long_as_it_lives(tmp_path) -> None:
    path = begin(tmp_path, 1)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path / "lock")], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=f"is being made by process {holder.pid}"), opened(tmp_path):
            pass
        with pytest.raises(ValueError, match=f"is being made by process {holder.pid}"):
            remove(tmp_path, path.name)
        assert [film.path for film in resumable(tmp_path)] == [path]
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert (path / "lock").read_text() == str(holder.pid)
    with opened(tmp_path) as film:
        assert film.position == 1


def test_a_lock_is_free_after_its_block_however_it_ends(tmp_path) -> None:
    with pytest.raises(RuntimeError), locked(tmp_path / "lock"):
        raise RuntimeError
    with locked(tmp_path / "lock"), pytest.raises(InUse), locked(tmp_path / "lock"):
        pass


@posix
def test_a_lock_whose_file_was_removed_meanwhile_is_that_of_the_new_file(tmp_path, monkeypatch) -> None:
    """Between opening and locking, whoever finished the film removed it with its lock."""
    import fcntl

    path, lock = tmp_path / "lock", fcntl.lockf

    def late(number: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "lockf", lock)
        path.unlink()
        lock(number, operation)

    monkeypatch.setattr(fcntl, "lockf", late)
    with locked(path):
        assert path.read_text() == str(os.getpid())


def test_unfinished_films_are_listed_with_size_and_age(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(folder_module.time, "time", lambda: 1000.0)
    old = begin(tmp_path, 1, OTHER, seed="2")
    monkeypatch.setattr(folder_module.time, "time", lambda: 4000.0)
    new = begin(tmp_path, 3)
    (tmp_path / "talk_no_film").mkdir()
    (tmp_path / "talk_file").write_text("")
    monkeypatch.setattr(folder_module.time, "time", lambda: 11200.0)
    films = resumable(tmp_path)
    assert [(film.path, film.age) for film in films] == [(new, 7200.0), (old, 10200.0)]
    assert films[0].size == sum(path.stat().st_size for path in new.iterdir())
    assert films[0].described() == f"3 windows, 12 frames, {films[0].size / 2**20:.1f} MiB, 2 hours old"
    assert resumable(tmp_path / "nothing") == []


def test_the_command_lists_films_and_removes_one(tmp_path, monkeypatch, capsys) -> None:
    def command(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["long_video", *arguments])
        main()
        return capsys.readouterr().out

    path = begin(tmp_path, 2)
    (path / STATE).write_text("{")
    kept = begin(tmp_path, 1, OTHER, seed="7")
    listed = command("list", str(tmp_path)).splitlines()
    assert any(line.startswith(f"{kept.name}: 1 windows, 4 frames") and line.endswith("(seed 7)") for line in listed)
    assert any(line.startswith(f"{path.name}: damaged") for line in listed)
    assert command("remove", str(tmp_path), path.name) == f"removed {path.name}\n"
    assert not path.exists() and kept.exists()
    with pytest.raises(SystemExit, match="holds no unfinished film nothing"):
        command("remove", str(tmp_path), "nothing")


def test_nothing_outside_of_the_root_is_removed(tmp_path) -> None:
    outside = begin(tmp_path / "elsewhere", 1)
    root = tmp_path / "root"
    begin(root, 1)
    (root / "talk_link").symlink_to(outside, target_is_directory=True)
    for name in ("talk_link", f"../elsewhere/{outside.name}", "..", "", ".", str(outside)):
        with pytest.raises(ValueError, match="holds no unfinished film"):
            remove(root, name)
    assert len(list(outside.iterdir())) == 4 and len(resumable(root)) == 1


def test_names_that_are_no_names_of_folders_are_refused(tmp_path) -> None:
    for name in ("", "../x", "a/b", "a b"):
        with pytest.raises(ValueError, match="use letters"), open_film(tmp_path, name, KEY, {}):
            pass
    assert not list(tmp_path.iterdir())
