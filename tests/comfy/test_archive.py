"""The pack as ComfyUI's registry gives it to users."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devtools import archive

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the archive is made from a git checkout")
def test_comfyui_loads_every_node_from_the_archive(comfyui_folder, tmp_path):
    pack = tmp_path / "custom_nodes" / "apoavatar"
    for name in archive.files(ROOT):
        (pack / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, pack / name)
    # Away from the checkout, so that nothing of it can be found.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", LOAD_THE_PACK, str(comfyui_folder), str(pack)]
    result = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].split() == sorted(path.stem for path in (ROOT / "js" / "docs").glob("*.md"))
