"""ComfyUI for tests in this process: `comfy`, its modules and the pack."""
import asyncio
import gc
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from devtools import environment

LAYOUT = environment.Layout(Path(__file__).resolve().parents[2])


@pytest.fixture(scope="session")
def extra_model_paths(tmp_path_factory) -> Path:
    """A user's extra_model_paths.yaml, with a folder beside it for each kind of model that only this pack knows."""
    file = tmp_path_factory.mktemp("elsewhere") / "extra_model_paths.yaml"
    file.write_text(f"mine:\n  base_path: {file.parent}\n  apoavatar_adapters: adapters\n  apoavatar_pose: poses\n")
    return file


@pytest.fixture(scope="session")
def comfy(comfyui_folder, extra_model_paths):
    """The pack's module, loaded by ComfyUI's own loader. Its nodes are in ComfyUI's NODE_CLASS_MAPPINGS."""
    sys.path.insert(0, str(comfyui_folder))
    import torch
    from comfy.cli_args import args

    # ComfyUI reads its device from the options when this module is first imported.
    assert "comfy.model_management" not in sys.modules, "ComfyUI was imported before the `comfy` fixture was used"
    args.cpu = not torch.cuda.is_available()
    args.use_pytorch_cross_attention = True
    environment.link_pack(LAYOUT)

    from utils.extra_config import load_extra_path_config

    import nodes

    load_extra_path_config(str(extra_model_paths))
    link = str(LAYOUT.pack_link)
    assert asyncio.run(nodes.load_custom_node(link)), f"ComfyUI could not load the pack from {link}"
    # ComfyUI collects garbage whenever a model has gone, as those of tests do; what is there by now stays anyway.
    gc.freeze()
    return sys.modules[link.replace(".", "_x_")]


@pytest.fixture(scope="session")
def pack(comfy) -> Callable[[str], ModuleType]:
    """A module of the pack as ComfyUI loaded it, by its name inside the pack."""
    return lambda name: importlib.import_module(f"{comfy.__name__}.{name}")


@pytest.fixture(scope="module")
def training(comfy):
    """The training package, with gradients through ComfyUI's rope while these tests run."""
    import comfy.model_management

    from apoavatar_core.comfyui.host import use_comfyui

    use_comfyui()
    yield
    comfy.model_management.in_training = False


@pytest.fixture(scope="session")
def prepare_clips(comfy, tmp_path_factory) -> Callable[..., Path]:
    """`prepare_clips(clips=…, frames=…)` draws clips of 64×64 and prepares them for training; returns the folder."""
    from apoavatar_core.data.clips import ClipBank, draw_bank
    from apoavatar_core.data.encoders import load_encoders
    from apoavatar_core.data.prepare import prepare as prepare_bank

    def prepare(clips: int, frames: int) -> Path:
        folder = tmp_path_factory.mktemp("training")
        draw_bank(folder / "bank", clips=clips, frames=frames, size=64, workers=1)
        prepare_bank(ClipBank(folder / "bank"), folder / "prepared", load_encoders())
        return folder / "prepared"

    return prepare


STAGE = {"steps": 4, "batch": 2, "latent_frames": 3, "learning_rate": 1e-3, "final_learning_rate": 1e-3, "warmup": 1}


@pytest.fixture(scope="session")
def prepared(prepare_clips) -> Path:
    """Four prepared clips of 9 frames, which tests only read."""
    return prepare_clips(clips=4, frames=9)


@pytest.fixture
def config(prepared, tmp_path):
    """The configuration of a run of four steps with a small backbone."""
    from apoavatar_core.settings import build
    from apoavatar_core.training.config import TrainingConfig

    content = {
        "data": prepared,
        "run": tmp_path / "run",
        "backbone": {"new": {"dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2}},
        "adapter": {"new": {"audio_dim": 32, "tokens_per_frame": 2, "pose_channels": 8}},
        "stages": [STAGE],
    }
    return build(TrainingConfig, content)


@pytest.fixture
def trainer(training) -> Callable:
    """`trainer(config, resume=False)`: the run of a configuration."""
    from accelerate.state import AcceleratorState

    from apoavatar_core.training.trainer import Trainer

    def start(config, resume: bool = False) -> Trainer:
        AcceleratorState._reset_state()  # the precision of an earlier run in this process
        return Trainer(config, resume)

    return start
