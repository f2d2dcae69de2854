"""ApoAvatar for ComfyUI: a person in a picture speaks and gestures with a voice."""

from pathlib import Path

from .apoavatar_core.comfyui.version import refuse_older_comfyui

refuse_older_comfyui()

import folder_paths  # noqa: E402  what follows may be missing in an older ComfyUI

from .apoavatar_core.checkpoints.presets import ADAPTERS, POSE_MODELS, PRESETS  # noqa: E402

for kind, suffixes in ((ADAPTERS, {".safetensors"}), (POSE_MODELS, {".safetensors", ".onnx", ".pt2", ".torchscript"})):
    # An extra_model_paths.yaml may have named folders of this kind already.
    folders, known = folder_paths.folder_names_and_paths.get(kind, ([], set()))
    folder_paths.folder_names_and_paths[kind] = (folders, known | suffixes)
    # The preset's other files stay out of ComfyUI's lists, where they would come first in every new loader.
    for models in (Path(folder_paths.models_dir), PRESETS):
        folder_paths.add_model_folder_path(kind, str(models / kind))

WEB_DIRECTORY = "./js"


async def comfy_entrypoint():
    from .nodes import ApoAvatarExtension

    return ApoAvatarExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
