"""The set-up: a virtual environment, ComfyUI and the pack inside it, made step by step.

A finished step leaves a stamp that holds everything it depended on. A step runs when its stamp is missing or says
something else, so a set-up that was interrupted goes on where it stopped and one that is complete is skipped.
"""
from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import comfyui_source
from .errors import SetupError, tail

TORCH = ["torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0"]
PACK_LINK_NAME = "comfyui-apoavatar"


@dataclass(frozen=True)
class Layout:
    """Where everything lives. `root` is the checkout; nothing outside it is written."""

    root: Path

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "Scripts" / "python.exe" if os.name == "nt" else self.venv / "bin" / "python"

    @property
    def state(self) -> Path:
        return self.root / ".comfyui"

    @property
    def log(self) -> Path:
        return self.state / "setup.log"

    @property
    def own_comfyui(self) -> Path | None:
        """The ComfyUI the user named, if any. It is read, never written."""
        path = os.environ.get("COMFYUI_PATH")
        return Path(path).expanduser().resolve() if path else None

    @property
    def comfyui(self) -> Path:
        return self.own_comfyui or self.state / "ComfyUI"

    @property
    def base(self) -> Path:
        """ComfyUI's --base-directory: its models, custom nodes, inputs and outputs, apart from its source."""
        return self.state / "base"

    @property
    def pack_link(self) -> Path:
        return self.base / "custom_nodes" / PACK_LINK_NAME


@dataclass(frozen=True)
class Step:
    """One thing to make. `depends_on` is asked only when the steps before it are done."""

    title: str
    stamp: Path
    depends_on: Callable[[], dict]
    is_there: Callable[[], bool]
    make: Callable[[], None]

    def is_done(self) -> bool:
        return self.is_there() and read_stamp(self.stamp) == self.depends_on()

    def run(self) -> None:
        self.stamp.unlink(missing_ok=True)
        self.make()
        write_stamp(self.stamp, self.depends_on())


def read_stamp(path: Path) -> dict | None:
    """What a stamp says; None when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_stamp(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(temporary, path)


def set_up(layout: Layout, for_tests: bool = False) -> None:
    """Makes whatever is missing, one line a step; says nothing when nothing is missing."""
    refuse_what_is_no_comfyui(layout)
    steps = setup_steps(layout, for_tests)
    if not all(step.is_done() for step in steps):
        with only_one_setup(layout):
            layout.log.unlink(missing_ok=True)
            finish(layout, steps)
    link_pack(layout)


def finish(layout: Layout, steps: Sequence[Step]) -> None:
    if interpreter_version(layout) is not None:
        run_logged(layout, [layout.python, Path(__file__).with_name("broken_packages.py")])
    for number, step in enumerate(steps, start=1):
        if step.is_done():
            continue
        started = time.monotonic()
        print(f"[{number}/{len(steps)}] {step.title} ... ", end="", flush=True)
        step.run()
        print(f"{time.monotonic() - started:.0f} s", flush=True)


def setup_steps(layout: Layout, for_tests: bool) -> list[Step]:
    environment = Step(
        "Python environment in .venv",
        stamp_of(layout, "python"),
        depends_on=lambda: {"python": interpreter_version(layout)},
        is_there=lambda: interpreter_version(layout) is not None,
        make=lambda: make_venv(layout),
    )
    torch = pip_step(layout, "torch", "PyTorch (several GB)", [], lambda: [])
    source = Step(
        f"ComfyUI ({comfyui_source.DISTRIBUTION} {comfyui_source.VERSION})",
        layout.state / "ComfyUI.json",
        depends_on=lambda: {"sha256": comfyui_source.SHA256},
        is_there=lambda: (layout.comfyui / "main.py").is_file(),
        make=lambda: comfyui_source.install(layout.comfyui, lambda arguments: pip(layout, arguments)),
    )
    comfyui = requirements_step(layout, "comfyui", "ComfyUI's packages", layout.comfyui / "requirements.txt")
    pack = requirements_step(layout, "pack", "ApoAvatar's packages", layout.root / "requirements.txt")

    steps = [environment, torch]
    if layout.own_comfyui is None:
        steps.append(source)
    steps += [comfyui, pack]
    if for_tests:
        packages = extra(layout.root, "train") + extra(layout.root, "dev")
        steps.append(pip_step(layout, "dev", "test packages", packages, lambda: packages))
    return steps


def stamp_of(layout: Layout, name: str) -> Path:
    """Stamps of what is in the environment are kept in it: they go when it goes."""
    return layout.venv / "stamps" / f"{name}.json"


def requirements_step(layout: Layout, name: str, title: str, file: Path) -> Step:
    return pip_step(layout, name, title, ["--requirement", str(file)], lambda: [file.read_text(encoding="utf-8")])


def pip_step(
    layout: Layout, name: str, title: str, arguments: Sequence[str], depends_on: Callable[[], Sequence[str]]
) -> Step:
    """Installs packages. PyTorch's pins are among them every time, so that no other package moves it."""
    return Step(
        title,
        stamp_of(layout, name),
        depends_on=lambda: {
            "python": read_stamp(stamp_of(layout, "python")),
            "requirements": hash_of([*depends_on(), *TORCH]),
        },
        is_there=lambda: True,
        make=lambda: pip(layout, ["install", *arguments, *TORCH]),
    )


def hash_of(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def extra(root: Path, name: str) -> list[str]:
    """An extra of the project. A TOML list of plain strings is a Python list too, and Python 3.10 has no TOML reader."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    return ast.literal_eval(re.search(rf"^{name} = (\[.*?\])$", text, re.MULTILINE | re.DOTALL).group(1))


def refuse_what_is_no_comfyui(layout: Layout) -> None:
    for name in ("main.py", "requirements.txt"):
        if layout.own_comfyui and not (layout.own_comfyui / name).is_file():
            raise SetupError(f"COMFYUI_PATH is {layout.own_comfyui}, but no ComfyUI is there ({name} is missing).")


def interpreter_version(layout: Layout) -> str | None:
    """The version of the environment's Python; None when there is none that runs and has pip."""
    if not layout.python.exists():
        return None
    probe = "import importlib.util, sys; assert importlib.util.find_spec('pip'); print('%d.%d' % sys.version_info[:2])"
    try:
        result = subprocess.run(
            [layout.python, "-c", probe], capture_output=True, text=True, env=clean_variables(), timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def make_venv(layout: Layout) -> None:
    """Makes the environment. One that exists and runs is kept: pip finishes what it lacks."""
    if interpreter_version(layout) is not None:
        return
    if layout.venv.exists():
        shutil.rmtree(layout.venv)
    # Inside an activated environment this is still the Python that stays when .venv is removed.
    interpreter = getattr(sys, "_base_executable", None) or sys.executable
    run_logged(
        layout,
        [interpreter, "-m", "venv", layout.venv],
        "Check that this Python can make virtual environments (on Debian and Ubuntu: the package python3-venv).",
    )


def pip(layout: Layout, arguments: Sequence[str]) -> None:
    run_logged(
        layout,
        [layout.python, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input", *arguments],
        "Check the network connection, pip's configuration and the free disk space (10 GB are needed), "
        "then give the same command again: it goes on where it stopped.",
    )


def run_logged(layout: Layout, command: Sequence[str | Path], remedy: str = "") -> None:
    """Runs a program with its output in the set-up log; on failure shows the end of it and the remedy."""
    layout.log.parent.mkdir(parents=True, exist_ok=True)
    with open(layout.log, "a+", encoding="utf-8", errors="replace") as log:
        begin = log.tell()
        result = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=clean_variables(),
        )  # fmt: skip
        if result.returncode:
            log.seek(begin)
            raise SetupError(
                f"a set-up step failed (exit status {result.returncode}). {remedy}\n"
                f"{tail(log.read())}\n(all of it: {layout.log})"
            )


def clean_variables() -> dict[str, str]:
    """The process's variables without those that would mix another Python's packages in."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def link_pack(layout: Layout) -> None:
    """Makes the checkout one of ComfyUI's custom nodes."""
    link = layout.pack_link
    if link.exists() and os.path.samefile(link, layout.root):
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        # A junction is removed like an empty folder; what it points to stays.
        os.rmdir(link) if os.name == "nt" else os.unlink(link)
    if os.name == "nt":
        import _winapi  # a junction, unlike a symbolic link, needs no special right

        _winapi.CreateJunction(str(layout.root), str(link))
    else:
        link.symlink_to(layout.root, target_is_directory=True)


@contextlib.contextmanager
def only_one_setup(layout: Layout) -> Iterator[None]:
    """Holds the set-up for this process. The system lets go of the lock when the process ends, however it ends."""
    layout.state.mkdir(parents=True, exist_ok=True)
    with open(layout.state / "setup.lock", "a+") as file:
        if not try_to_lock(file):
            print("Another dev.py is setting this checkout up; waiting for it to finish ...", flush=True)
            while not try_to_lock(file):
                time.sleep(0.2)
        yield


def try_to_lock(file) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
