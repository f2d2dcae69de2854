"""What the pack takes from ComfyUI and from torch's private parts: a version that lacks one fails here by its name.

Next to nothing of ComfyUI is promised to stay, so every name counts, and the parameters of what is called or replaced.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOST = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "folder_paths", "latent_preview", "nodes", "node_helpers", "comfyui_version"}
FILES = [ROOT / "__init__.py", *(path for room in ("apoavatar_core", "nodes", "benchmarks") for path in (ROOT / room).rglob("*.py"))]


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(name in the file, what it stands for) of every absolute import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0], alias.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def chain(node: ast.expr) -> list[str]:
    """The names of a.b.c; none where it begins with something else than a name."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (before := chain(node.value)):
        return [*before, node.attr]
    return []


def names_of(path: Path) -> set[str]:
    """Full names of everything that a file takes from other packages."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known = dict(imported(tree))
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found = set(known.values())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner and (names := chain(node)) and names[0] in known:
            found.add(".".join([known[names[0]], *names[1:]]))
    return found


def not_public(name: str) -> bool:
    first, *parts = name.split(".")
    return first in HOST or first == "torch" and any(part.startswith("_") for part in parts)


@pytest.fixture(scope="module")
def names() -> list[str]:
    """All that is not public."""
    return sorted({name for path in FILES for name in names_of(path) if not_public(name)})


def resolved(name: str) -> object:
    """The object of a full name, with the modules on the way to it imported."""
    first, *parts = name.split(".")
    found, module = importlib.import_module(first), first
    for part in parts:
        if not hasattr(found, part):
            importlib.import_module(f"{module}.{part}")
        found, module = getattr(found, part), f"{module}.{part}"
    return found


def test_every_name_is_there(comfy, names: list[str]) -> None:
    gone = {}
    for name in names:
        try:
            resolved(name)
        except (AttributeError, ImportError) as error:
            gone[name] = str(error)
    assert gone == {}


def test_the_names_are_found_wherever_they_are_used(names: list[str]) -> None:
    assert {
        "comfy.samplers.calc_cond_batch",
        "comfy.patcher_extension.WrappersMP.PREPARE_SAMPLING",
        "comfy.ops.manual_cast",
        "comfy_extras.nodes_custom_sampler.SamplerCustomAdvanced.execute",
        "folder_paths.folder_names_and_paths",
        "torch.cpu._is_avx512_bf16_supported",
    } <= set(names)


@pytest.mark.parametrize("name", ["comfy.samplers.no_such_thing", "comfy.no_such_module", "torch.cpu._no_such_thing"])
def test_a_name_that_is_gone_is_noticed(comfy, name: str) -> None:
    with pytest.raises((AttributeError, ImportError), match=name.rsplit(".", 1)[1]):
        resolved(name)


PARAMETERS = {
    # What the hooks of a sampling are called with.
    "comfy.sampler_helpers.prepare_sampling": "model noise_shape conds model_options",
    "comfy.samplers.CFGGuider.outer_sample": "self noise latent_image sampler sigmas",
    "comfy.model_base.BaseModel.apply_model": "self x t c_concat c_crossattn control transformer_options kwargs",
    "comfy.ldm.wan.model.WanModel.forward": "self x timestep context clip_fea time_dim_concat transformer_options kwargs",
    # What is overridden.
    "comfy.samplers.CFGGuider.predict_noise": "self x timestep model_options seed",
    "comfy.conds.CONDRegular.process_cond": "self batch_size kwargs",
    "comfy.conds.CONDRegular.can_concat": "self other",
    "comfy.conds.CONDRegular.concat": "self others",
    # What is called.
    "comfy.conds.CONDRegular._copy_with": "self cond",
    "comfy.samplers.CFGGuider.set_conds": "self positive negative",
    "comfy.samplers.CFGGuider.set_cfg": "self cfg",
    "comfy.samplers.CFGGuider.inner_set_conds": "self conds",
    "comfy.samplers.CFGGuider.sample": "self noise latent_image sampler sigmas denoise_mask callback disable_pbar seed",
    "comfy.model_patcher.ModelPatcher.get_key_patches": "self",
    "latent_preview.get_previewer": "device latent_format",
    "server.PromptServer.send_progress_text": "self text node_id",
    "comfy.samplers.calc_cond_batch": "model conds x_in timestep model_options",
    "comfy.samplers.cfg_function": "model cond_pred uncond_pred cond_scale x timestep model_options cond uncond",
    "comfy.model_management.load_models_gpu": "models memory_required",
    "comfy.model_base.BaseModel.get_dtype_inference": "self",
    "comfy.model_base.BaseModel.process_latent_in": "self latent",
    "comfy.model_patcher.ModelPatcher.clone": "self",
    "comfy.model_patcher.ModelPatcher.add_wrapper_with_key": "self wrapper_type key wrapper",
    "comfy.model_patcher.ModelPatcher.get_wrappers": "self wrapper_type key",
    "comfy.model_patcher.ModelPatcher.get_model_object": "self name",
    "comfy.model_patcher.ModelPatcher.set_model_patch": "self patch name",
    "comfy.model_patcher.ModelPatcher.set_model_patch_replace": "self patch name block_name number",
    "comfy.ldm.modules.attention.optimized_attention": "q k v heads kwargs",
}
"""Of each function those parameters that the pack relies on, in their order; there may be more."""


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_parameters_are_there_in_their_order(comfy, name: str) -> None:
    found = list(inspect.signature(resolved(name)).parameters)
    wanted = PARAMETERS[name].split()
    assert [parameter for parameter in found if parameter in wanted] == wanted
