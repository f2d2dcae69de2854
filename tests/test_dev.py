"""The set-up behind `dev.py`: what is interrupted is finished, what is damaged or foreign is not trusted."""
import hashlib
import io
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from scipy.io import wavfile

from devtools import comfyui_source, demo, environment
from devtools.environment import Layout, Step
from devtools.errors import SetupError, WorkflowError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def layout(tmp_path, monkeypatch) -> Layout:
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    return Layout(tmp_path)


def counted_step(folder: Path, made: list, name: str, depends_on=lambda: {"version": 1}, fail_first=False) -> Step:
    """A step that makes a file and remembers that it ran; with `fail_first`, its first run breaks off half-way."""

    def make():
        made.append(name)
        if fail_first and made.count(name) == 1:
            raise KeyboardInterrupt
        (folder / name).touch()

    return Step(name, folder / f"{name}.json", depends_on, (folder / name).exists, make)


def test_interrupted_setup_goes_on_where_it_stopped(layout):
    made = []
    steps = [
        counted_step(layout.root, made, "first"),
        counted_step(layout.root, made, "second", fail_first=True),
        counted_step(layout.root, made, "third"),
    ]
    with pytest.raises(KeyboardInterrupt):
        environment.finish(layout, steps)
    environment.finish(layout, steps)
    environment.finish(layout, steps)
    assert made == ["first", "second", "second", "third"]


@pytest.mark.parametrize("damage", ["", "{", '{"version": 2}'])
def test_step_with_a_damaged_stamp_runs_again(layout, damage):
    made = []
    step = counted_step(layout.root, made, "only")
    step.run()
    assert step.is_done()
    step.stamp.write_text(damage)
    assert not step.is_done()


def test_step_runs_again_when_what_it_made_is_gone(layout):
    step = counted_step(layout.root, [], "only")
    step.run()
    (layout.root / "only").unlink()
    assert not step.is_done()


def test_stamp_is_gone_while_its_step_runs(layout):
    made = []
    version = {"version": 1}
    step = counted_step(layout.root, made, "only", depends_on=lambda: dict(version))
    step.run()
    version["version"] = 2
    broken = counted_step(layout.root, [], "only", depends_on=lambda: dict(version), fail_first=True)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    version["version"] = 1
    assert not step.is_done()


def test_changed_requirements_are_noticed(layout):
    file = layout.root / "requirements.txt"
    file.write_text("einops\n")
    step = environment.requirements_step(layout, "pack", "packages", file)
    environment.write_stamp(step.stamp, step.depends_on())
    assert step.is_done()
    file.write_text("einops\nlibrosa\n")
    assert not step.is_done()


def test_environment_is_made_redone_when_broken_and_its_packages_repaired(layout, tmp_path):
    steps = environment.setup_steps(layout, for_tests=False)[:1]
    environment.finish(layout, steps)
    assert steps[0].is_done()

    wheel = tiny_wheel(tmp_path)
    install = ["install", "--no-index", "--quiet", str(wheel)]
    environment.pip(layout, install)
    module = next(layout.venv.rglob("tiny_module.py"))
    module.write_text("")  # as an installation that was cut short leaves it
    environment.finish(layout, [])
    environment.pip(layout, install)
    assert module.read_text() == "ANSWER = 42\n"

    layout.python.unlink()
    assert not steps[0].is_done()
    environment.finish(layout, steps)
    assert steps[0].is_done() and not module.exists()


def tiny_wheel(folder: Path) -> Path:
    files = {
        "tiny_module.py": "ANSWER = 42\n",
        "tiny_module-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-module\nVersion: 1.0\n",
        "tiny_module-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_module-1.0.dist-info/RECORD": "tiny_module.py,,12\ntiny_module-1.0.dist-info/METADATA,,\n"
        "tiny_module-1.0.dist-info/WHEEL,,\ntiny_module-1.0.dist-info/RECORD,,\n",
    }
    path = folder / "tiny_module-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_failing_program_is_told_with_its_last_lines_and_the_remedy(layout):
    command = [sys.executable, "-c", "print('no room left'); raise SystemExit(3)"]
    with pytest.raises(SetupError, match=r"(?s)exit status 3.*Free some space.*no room left"):
        environment.run_logged(layout, command, "Free some space.")


def test_second_setup_waits_for_the_first(layout, capsys):
    order = []

    def second():
        with environment.only_one_setup(layout):
            order.append("second")

    thread = threading.Thread(target=second)
    with environment.only_one_setup(layout):
        thread.start()
        time.sleep(0.5)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert "waiting for it to finish" in capsys.readouterr().out


def test_pack_link_is_made_once_and_corrected(layout, tmp_path):
    environment.link_pack(layout)
    environment.link_pack(layout)
    assert layout.pack_link.samefile(layout.root)
    other = tmp_path / "moved"
    other.mkdir()
    layout.pack_link.unlink()
    layout.pack_link.symlink_to(other, target_is_directory=True)
    environment.link_pack(layout)
    assert layout.pack_link.samefile(layout.root) and other.is_dir()


def test_comfyui_path_without_comfyui_is_refused(layout, monkeypatch, tmp_path):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(SetupError, match="no ComfyUI is there"):
        environment.set_up(layout)


def archive_of(folder: Path, files: dict) -> Path:
    path = folder / comfyui_source.ARCHIVE_NAME
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if content else None)
    return path


def test_archive_with_another_hash_is_refused_before_it_is_unpacked(tmp_path):
    """pip hands over something else than expected: a mirror that was tampered with."""
    destination = tmp_path / "ComfyUI"
    with pytest.raises(SetupError, match="not the archive this checkout expects"):
        comfyui_source.install(destination, lambda arguments: archive_of(tmp_path, {"a/main.py": b"evil"}))
    assert not destination.exists()


@pytest.mark.parametrize("name", ["a/../../outside.py", "/outside.py", "a\\..\\..\\outside.py", "C:/outside.py"])
def test_archive_that_leads_outside_is_refused(tmp_path, name):
    archive = archive_of(tmp_path, {"a/main.py": b"fine", name: b"evil"})
    with pytest.raises(SetupError, match="leads outside"):
        comfyui_source.unpack(archive, PurePosixPath("a"), tmp_path / "to" / "ComfyUI")
    assert not list(tmp_path.rglob("*.py"))


def test_only_plain_files_of_the_folder_are_unpacked(tmp_path):
    archive = archive_of(tmp_path, {"a/sub/main.py": b"fine", "a/link": None, "b/other.py": b"other"})
    comfyui_source.unpack(archive, PurePosixPath("a"), tmp_path / "to")
    assert [path.name for path in sorted((tmp_path / "to").rglob("*"))] == ["sub", "main.py"]


def test_half_unpacked_comfyui_is_replaced(tmp_path, monkeypatch):
    archive = archive_of(tmp_path, {f"{comfyui_source.FOLDER_IN_ARCHIVE}/main.py": b"whole"})
    monkeypatch.setattr(comfyui_source, "SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    destination = tmp_path / "ComfyUI"
    destination.mkdir()
    (destination / "main.py").write_text("ha")
    comfyui_source.install(destination, lambda arguments: pytest.fail("an archive with the right hash is used"))
    assert (destination / "main.py").read_text() == "whole"
    assert list(destination.glob("__pycache__/main.*.pyc"))
    assert [path.name for path in tmp_path.iterdir()] == ["ComfyUI"]


@pytest.mark.parametrize(
    ("seconds", "fps", "frames"), [(2, 24, 49), (1, 24, 25), (0.01, 24, 1), (4, 25, 101), (5.0, 16.0, 81)]
)
def test_frame_count_is_the_nearest_the_vae_can_make(seconds, fps, frames):
    assert demo.frame_count(seconds, fps) == frames


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--image", "nowhere.png"], "there is no file nowhere.png"),
        (["demo", "--audio", "."], "--audio: there is no file ."),
        (["demo", "--pose", "nowhere.mp4"], "there is no file nowhere.mp4"),
        (["demo", "--seconds", "nan"], "invalid positive float"),
        (["demo", "--steps", "0"], "invalid positive int"),
        (["demo", "--size", "128"], "128 is no size: give width and height as multiples of 16"),
        (["demo", "--size", "0x128"], "0x128 is no size"),
        (["demo", "--size", "120x128"], "120x128 is no size"),
        (["demo", "--fit", "stretch"], "invalid choice: 'stretch'"),
        (["demo", "--out", "film.gif"], "the film is an MP4, and film.gif says something else"),
        (["demo", "--out", "."], "--out: . is a folder"),
        (["demo", "--out", "film"], "the film is an MP4, and film says something else: use a name that ends in .mp4"),
        (["demo", "--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_wrong_arguments_are_refused_before_any_setup(arguments, message):
    result = subprocess.run([sys.executable, ROOT / "dev.py", *arguments], capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert message in result.stderr


def test_sound_that_comfyui_cannot_load_is_refused_before_it_starts(tmp_path):
    speech = ROOT / "workflows" / "assets" / "speech.wav"
    rate, samples = wavfile.read(speech)
    wavfile.write(tmp_path / "8 bit.wav", rate, (samples // 256 + 128).astype(np.uint8))
    wavfile.write(tmp_path / "empty.wav", rate, samples[:0])
    (tmp_path / "text.wav").write_text("no sound")
    for name, words in (("8 bit", "8 bits a sample, which ComfyUI does not load: save it with 16"),
                        ("empty", "no sound in it"), ("text", "no sound in it")):  # fmt: skip
        with pytest.raises(WorkflowError, match=rf"--audio: {name}\.wav has {words}"):
            demo.refuse_unreadable_sound(tmp_path / f"{name}.wav")
    demo.refuse_unreadable_sound(speech)
    demo.refuse_unreadable_sound(None)
