"""ComfyUI for commands that run outside of its server: training, evaluation, benchmarks."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import torch

REPOSITORY = Path(__file__).resolve().parents[2]

SAMPLING_NODES = {"BasicScheduler": "nodes_custom_sampler.py", "ModelSamplingSD3": "nodes_model_advanced.py"}
"""A node of each file of ComfyUI's extra nodes that a workflow's sampling is made of."""


def use_comfyui() -> None:
    """Make `comfy` importable, from COMFYUI_PATH or the copy that `dev.py` set up, with gradients through its models.

    Raises:
        FileNotFoundError: no ComfyUI there.
    """
    root = Path(os.environ.get("COMFYUI_PATH") or REPOSITORY / ".comfyui" / "ComfyUI")
    if not (root / "comfy").is_dir():
        raise FileNotFoundError(f"no ComfyUI in {root}: run `python dev.py test` once or set COMFYUI_PATH")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    args.use_pytorch_cross_attention = True
    import comfy.model_management

    comfy.model_management.in_training = True  # the fused rope has no gradient


def nodes_with_pack() -> ModuleType:
    """ComfyUI's own `nodes` module, with this pack and SAMPLING_NODES among its NODE_CLASS_MAPPINGS, as its server has it.

    Raises:
        RuntimeError: ComfyUI could not load the pack.
    """
    use_comfyui()
    import comfy.model_management
    import comfy.utils

    import nodes

    comfy.model_management.in_training = False
    comfy.utils.set_progress_bar_enabled(False)
    extras = Path(nodes.__file__).parent / "comfy_extras"
    wanted = {node_id: (str(extras / file), "comfy_extras") for node_id, file in SAMPLING_NODES.items()}
    wanted["ApoAvatarLoadModels"] = str(REPOSITORY), "custom_nodes"
    for node_id, (path, parent) in wanted.items():
        loaded = node_id in nodes.NODE_CLASS_MAPPINGS
        if not loaded and not asyncio.run(nodes.load_custom_node(path, module_parent=parent)):
            raise RuntimeError(f"ComfyUI could not load {path}: its message is above")
    return nodes


@contextmanager
def folders_for_now() -> Iterator[None]:
    """Let nodes write to an output and a temp folder that are gone afterwards, and leave ComfyUI's own as they are."""
    import folder_paths

    before = folder_paths.get_output_directory(), folder_paths.get_temp_directory()
    with TemporaryDirectory() as folder:
        folder_paths.set_output_directory(folder)
        folder_paths.set_temp_directory(folder)
        try:
            yield
        finally:
            folder_paths.set_output_directory(before[0])
            folder_paths.set_temp_directory(before[1])
