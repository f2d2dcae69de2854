"""ApoAvatar for ComfyUI: a person in a picture speaks and gestures with a voice."""

from pathlib import Path

import folder_paths

from .apoavatar_core.checkpoints.presets import PRESETS

for folder in sorted(path for path in PRESETS.iterdir() if path.is_dir()):
    if folder.name not in folder_paths.folder_names_and_paths:
        own = Path(folder_paths.models_dir) / folder.name
        folder_paths.folder_names_and_paths[folder.name] = ([str(own)], {".safetensors"})
    folder_paths.add_model_folder_path(folder.name, str(folder))

WEB_DIRECTORY = "./js"


async def comfy_entrypoint():
    from .nodes import ApoAvatarExtension

    return ApoAvatarExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
