"""The server that `dev.py` and the tests start: it writes nowhere but in its own folders, and it is always stopped."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from devtools.errors import WorkflowError

ROOT = Path(__file__).resolve().parents[2]


def test_comfyui_folder_is_only_read(comfy_server, comfyui_folder):
    started = psutil.Process(comfy_server.process.pid).create_time()
    written = [
        path
        for path in comfyui_folder.rglob("*")
        if "__pycache__" not in path.parts and path.stat().st_mtime > started
    ]
    # Only the compiled modules of a folder that is this checkout's own: their being made touches the folders.
    assert [path for path in written if not (path / "__pycache__").is_dir()] == []


def test_prompt_with_one_bad_output_does_not_run_the_others(comfy_server):
    picture = {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}}
    good = {"class_type": "PreviewImage", "inputs": {"images": ["picture", 0]}}
    bad = {"class_type": "PreviewImage", "inputs": {}}
    with pytest.raises(WorkflowError, match="PreviewImage .node bad.*images"):
        comfy_server.submit({"picture": picture, "good": good, "bad": bad})
    queue = json.loads(comfy_server.get("/queue"))
    assert queue["queue_pending"] == []
    comfy_server.queue({"picture": picture, "good": good})  # and the next one runs


def test_waiting_for_a_run_that_was_taken_out_of_the_queue_ends(comfy_server):
    with pytest.raises(WorkflowError, match="taken out of the queue"):
        comfy_server.wait("00000000-0000-0000-0000-000000000000")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal that asks a process to end")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_demo_leaves_no_server_and_no_files(tmp_path, comfyui_folder, number):
    # The variable stands for a set-up that is done: this is the environment's own interpreter.
    variables = {**os.environ, "APOAVATAR_DEV_STARTED": str(time.time()), "TMPDIR": str(tmp_path)}
    command = [sys.executable, ROOT / "dev.py", "demo"]
    # Tests that a shell started in the background hand on that Ctrl-C is ignored.
    demo = subprocess.Popen(
        command, env=variables, cwd=tmp_path, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    try:
        server = wait_for_server(demo)
        demo.send_signal(number)
        assert demo.wait(30) == 128 + number
    finally:
        demo.kill()
    assert not server.is_running()
    assert list(tmp_path.iterdir()) == []


def wait_for_server(demo: subprocess.Popen) -> psutil.Process:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and demo.poll() is None:
        for child in psutil.Process(demo.pid).children():
            if any(part.endswith("main.py") for part in child.cmdline()):
                return child
        time.sleep(0.1)
    raise AssertionError(f"dev.py demo started no server (exit status {demo.poll()})")
