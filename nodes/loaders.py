"""Loading: the shipped tiny preset or files, and adapters onto any Wan MODEL."""

from __future__ import annotations

import comfy.audio_encoders.audio_encoders
import comfy.sd
import comfy.utils
import folder_paths
from comfy_api.latest import io

from ..apoavatar_core.adapters import ApoAvatarAdapter
from ..apoavatar_core.audio_features import LogMelEncoder
from ..apoavatar_core.checkpoints import presets
from ..apoavatar_core.checkpoints.adapter_file import read_adapter
from ..apoavatar_core.checkpoints.presets import ADAPTERS
from ..apoavatar_core.checkpoints.safe_file import json_field, read_metadata, read_tensors
from ..apoavatar_core.checkpoints.unianimate import read_unianimate, with_unianimate
from . import binding

MODEL_PATCHES, LORAS = "model_patches", "loras"
OWN_POSE_ADAPTER = "the adapter's own"


def load_tiny_text_encoder():
    """The preset's T5 as a native CLIP; its file carries the tokenizer and the dimensions."""
    metadata, tensors = read_metadata(presets.TINY_T5), read_tensors(presets.TINY_T5)
    return binding.text_encoder(tensors, json_field(metadata, "config", presets.TINY_T5))


def load_vae(path):
    tensors, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    vae = comfy.sd.VAE(sd=tensors, metadata=metadata)
    vae.throw_exception_if_invalid()
    return vae


def adapter_files() -> list[str]:
    """What can be applied to a MODEL: the pack's adapters, and the model patches, where InfiniteTalk's file is."""
    return [*folder_paths.get_filename_list(ADAPTERS), *folder_paths.get_filename_list(MODEL_PATCHES)]


def pose_model_files() -> list[str]:
    """Where UniAnimate's file may be: it holds a LoRA too, so many keep it with those."""
    return [*folder_paths.get_filename_list(MODEL_PATCHES), *folder_paths.get_filename_list(LORAS)]


def path_of(name: str, folder: str, other_folder: str) -> str:
    return folder_paths.get_full_path(folder, name) or folder_paths.get_full_path_or_raise(other_folder, name)


def apply_adapter(model, path, pose_path=None):
    """A clone of MODEL with the adapter file attached, and with it UniAnimate's pose model and LoRA if there is one."""
    config, tensors = read_adapter(path)
    if pose_path is not None:
        stacks, lora = read_unianimate(pose_path)
        config, tensors = with_unianimate(config, tensors, stacks)
        model = binding.with_lora(model, lora)
    return binding.attach(model, binding.load_adapter(ApoAvatarAdapter, config, tensors))


class LoadModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        files = [
            io.Combo.Input("diffusion_model", options=folder_paths.get_filename_list("diffusion_models")),
            io.Combo.Input("vae", options=folder_paths.get_filename_list("vae")),
            io.Combo.Input("text_encoder", options=folder_paths.get_filename_list("text_encoders")),
            io.Combo.Input("adapter", options=adapter_files()),
            io.Combo.Input("audio_encoder", options=folder_paths.get_filename_list("audio_encoders")),
        ]
        return io.Schema(
            node_id="ApoAvatarLoadModels",
            display_name="Load ApoAvatar Models",
            category="ApoAvatar",
            description="Everything a talking avatar needs, in one node: the small model that ships with the pack, or files.",
            inputs=[
                io.DynamicCombo.Input(
                    "preset",
                    options=[io.DynamicCombo.Option("tiny", []), io.DynamicCombo.Option("files", files)],
                    tooltip="tiny: the cartoon presenter that ships with the pack and runs on a CPU. files: choose your own.",
                ),
            ],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output(), io.AudioEncoder.Output()],
        )

    @classmethod
    def execute(cls, preset: dict) -> io.NodeOutput:
        if preset["preset"] == "tiny":
            model = comfy.sd.load_diffusion_model(str(presets.TINY_DIT))
            return io.NodeOutput(
                apply_adapter(model, presets.TINY_ADAPTER),
                load_tiny_text_encoder(),
                load_vae(presets.TINY_VAE),
                LogMelEncoder(),
            )
        paths = {
            name: folder_paths.get_full_path_or_raise(folder, preset[name])
            for name, folder in (
                ("diffusion_model", "diffusion_models"),
                ("vae", "vae"),
                ("text_encoder", "text_encoders"),
                ("audio_encoder", "audio_encoders"),
            )
        }
        paths["adapter"] = path_of(preset["adapter"], ADAPTERS, MODEL_PATCHES)
        audio_encoder = comfy.audio_encoders.audio_encoders.load_audio_encoder_from_sd(
            comfy.utils.load_torch_file(paths["audio_encoder"], safe_load=True)
        )
        if audio_encoder is None:
            raise ValueError(f"{preset['audio_encoder']} is not an audio encoder that ComfyUI knows: choose a wav2vec2 file.")
        return io.NodeOutput(
            apply_adapter(comfy.sd.load_diffusion_model(paths["diffusion_model"]), paths["adapter"]),
            comfy.sd.load_clip(
                [paths["text_encoder"]],
                embedding_directory=folder_paths.get_folder_paths("embeddings"),
                clip_type=comfy.sd.CLIPType.WAN,
            ),
            load_vae(paths["vae"]),
            audio_encoder,
        )


class ApplyAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarApplyAdapter",
            display_name="Apply ApoAvatar Adapter",
            category="ApoAvatar",
            description="Teach a Wan model to listen and to follow a pose. LoRAs go between the loader and this node.",
            inputs=[
                io.Model.Input("model", tooltip="A Wan text- or image-to-video model from any loader."),
                io.Combo.Input(
                    "adapter",
                    options=adapter_files(),
                    tooltip="A file from models/apoavatar_adapters that was trained for this model, or InfiniteTalk or "
                    "MultiTalk from models/model_patches.",
                ),
                io.Combo.Input(
                    "pose_model",
                    options=[OWN_POSE_ADAPTER, *pose_model_files()],
                    default=OWN_POSE_ADAPTER,
                    optional=True,
                    tooltip="UniAnimate's file from models/model_patches or models/loras follows poses in the place of the "
                    "adapter's own pose branch.",
                ),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def validate_inputs(cls, adapter: str, pose_model: str = OWN_POSE_ADAPTER) -> bool | str:
        """In the place of ComfyUI's check of both lists, to say where a missing file belongs."""
        if adapter not in adapter_files():
            return (
                f"adapter: {adapter} is not there: put it into models/{ADAPTERS}, or an InfiniteTalk or MultiTalk file into "
                f"models/{MODEL_PATCHES}, and refresh."
            )
        if pose_model not in (OWN_POSE_ADAPTER, *pose_model_files()):
            return f"pose_model: {pose_model} is not there: put it into models/{LORAS} or models/{MODEL_PATCHES}, and refresh."
        return True

    @classmethod
    def execute(cls, model, adapter: str, pose_model: str = OWN_POSE_ADAPTER) -> io.NodeOutput:
        pose_path = None if pose_model == OWN_POSE_ADAPTER else path_of(pose_model, MODEL_PATCHES, LORAS)
        return io.NodeOutput(apply_adapter(model, path_of(adapter, ADAPTERS, MODEL_PATCHES), pose_path))
