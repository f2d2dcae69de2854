"""The pack as ComfyUI's registry gives it to users."""
import io
import json
import shutil
from pathlib import Path

import av
import pytest

from devtools import archive, environment, server, workflow

ROOT = Path(__file__).resolve().parents[2]
PORTRAIT = "ApoAvatar talking avatar from a portrait - tiny model"


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


def test_the_archive_has_every_node_and_runs_a_workflow_without_what_it_adds_to_the_page(comfyui_folder, pack, monkeypatch):
    """A server that has the archive without `js`, and no model of its own."""
    shutil.rmtree(pack / "js")
    monkeypatch.setenv("COMFYUI_PATH", str(comfyui_folder))
    layout = environment.Layout(pack)
    environment.link_pack(layout)
    with server.running_server(layout) as running:
        definitions = running.object_info()
        documented = {path.stem for path in (ROOT / "js" / "docs").glob("*.md")}
        assert {name for name in definitions if name.startswith("ApoAvatar")} == documented
        prompt = workflow.to_prompt(workflow.load(pack / "workflows" / f"{PORTRAIT}.json"), definitions)
        for name, value in {"width": 32, "height": 32, "length": 5}.items():
            workflow.set_input(prompt, "ApoAvatarConditioning", name, value)
        workflow.set_input(prompt, "ApoAvatarSampler", "steps", 1)
        (file,) = running.output_files(running.queue(prompt))
        with av.open(io.BytesIO(running.fetch(file))) as container:
            assert sum(1 for _ in container.decode(video=0)) == 5
        assert not [name for name in json.loads(running.get("/extensions")) if environment.PACK_LINK_NAME in name]
        assert "Traceback" not in running.log()
