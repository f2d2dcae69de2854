"""What all tests share: how they are distributed among processes, and `comfy_server`, the real server over HTTP."""
import functools
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from devtools import environment, server

# How fast examples are drawn and run says something of the machine and what else it does, not of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

ROOT = Path(__file__).resolve().parents[1]
LAYOUT = environment.Layout(ROOT)


class RootIsNoTestPackage:
    """The checkout has an `__init__.py` because ComfyUI imports it; pytest must not, outside ComfyUI it cannot work."""

    @staticmethod
    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(path, parent):
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config):
    if hasattr(config, "workerinput"):
        # Workers that each take all cores wait for each other; PyTorch reads this when it is first imported.
        share = (os.cpu_count() or 1) // config.workerinput["workercount"]
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))
    config.pluginmanager.register(RootIsNoTestPackage)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`--dist loadfile`, and all files that talk to the server in one process: it takes half a minute to start.

    Files go out in their own order, so that those of tests/core, which take little time, fill the end of both processes.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class OneServer(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "server" if talks_to_the_server(file) else file

    config.option.loadscopereorder = False
    return OneServer(config, log)


@functools.cache
def talks_to_the_server(file: str) -> bool:
    return "comfy_server" in (ROOT / file).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def comfyui_folder() -> Path:
    folder = LAYOUT.comfyui
    if not (folder / "main.py").is_file():
        pytest.fail(f"there is no ComfyUI at {folder}; `python dev.py test` sets it up")
    return folder


@pytest.fixture(scope="session")
def comfy_server(comfyui_folder):
    """A running ComfyUI with the pack: `.url`, `.queue(prompt)`, `.output_files(entry)`, `.fetch(file)`, `.log()`."""
    environment.link_pack(LAYOUT)
    with server.running_server(LAYOUT) as running:
        yield running


@pytest.fixture(scope="session")
def object_info(comfy_server) -> dict:
    """What every node of the server takes and gives; telling it takes seconds."""
    return comfy_server.object_info()
