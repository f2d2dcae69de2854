import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast examples are drawn and run says something of the machine and what else it does, not of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

ROOT = Path(__file__).resolve().parents[1]


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
