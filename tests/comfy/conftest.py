"""ComfyUI for tests: `comfy_server`, the real server over HTTP; `comfy`, its modules and the pack in this process."""
import asyncio
import sys
from pathlib import Path

import pytest

from devtools import environment, server

LAYOUT = environment.Layout(Path(__file__).resolve().parents[2])


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
def comfy(comfyui_folder):
    """The pack's module, loaded by ComfyUI's own loader. Its nodes are in ComfyUI's NODE_CLASS_MAPPINGS."""
    sys.path.insert(0, str(comfyui_folder))
    import torch
    from comfy.cli_args import args

    # ComfyUI reads its device from the options when this module is first imported.
    assert "comfy.model_management" not in sys.modules, "ComfyUI was imported before the `comfy` fixture was used"
    args.cpu = not torch.cuda.is_available()
    args.use_pytorch_cross_attention = True
    environment.link_pack(LAYOUT)

    import nodes

    link = str(LAYOUT.pack_link)
    assert asyncio.run(nodes.load_custom_node(link)), f"ComfyUI could not load the pack from {link}"
    return sys.modules[link.replace(".", "_x_")]
