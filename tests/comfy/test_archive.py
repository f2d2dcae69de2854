"""The pack as ComfyUI's registry gives it to users."""
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest

from devtools import archive, environment, server, workflow

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT = "ApoAvatar talking avatar from a portrait - tiny model"
LOAD_THE_PACK = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from comfy.cli_args import args
args.cpu = True
import nodes
before = set(nodes.NODE_CLASS_MAPPINGS)
assert asyncio.run(nodes.load_custom_node(sys.argv[2]))
print(*sorted(set(nodes.NODE_CLASS_MAPPINGS) - before))
"""


@pytest.fixture
def pack(tmp_path) -> Path:
    """The archive, unpacked away from the checkout, so that nothing of it can be found."""
    if not (ROOT / ".git").exists():
        pytest.skip("the archive is made from a git checkout")
    pack = tmp_path / "custom_nodes" / "apoavatar"
    for name in archive.files(ROOT):
        (pack / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, pack / name)
    return pack


def test_comfyui_loads_every_node_from_the_archive(comfyui_folder, pack, tmp_path):
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", LOAD_THE_PACK, str(comfyui_folder), str(pack)]
    result = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].split() == sorted(path.stem for path in (ROOT / "js" / "docs").glob("*.md"))


def test_a_workflow_runs_without_what_the_pack_adds_to_the_page(comfyui_folder, pack, monkeypatch):
    """A server that has the pack without `js`, and no model of its own."""
    shutil.rmtree(pack / "js")
    monkeypatch.setenv("COMFYUI_PATH", str(comfyui_folder))
    layout = environment.Layout(pack)
    environment.link_pack(layout)
    with server.running_server(layout) as running:
        prompt = workflow.to_prompt(workflow.load(pack / "workflows" / f"{PORTRAIT}.json"), running.object_info())
        for name, value in {"width": 32, "height": 32, "length": 5}.items():
            workflow.set_input(prompt, "ApoAvatarConditioning", name, value)
        workflow.set_input(prompt, "ApoAvatarSampler", "steps", 1)
        (file,) = running.output_files(running.queue(prompt))
        with av.open(io.BytesIO(running.fetch(file))) as container:
            assert sum(1 for _ in container.decode(video=0)) == 5
        assert not [name for name in json.loads(running.get("/extensions")) if environment.PACK_LINK_NAME in name]
        assert "Traceback" not in running.log()
