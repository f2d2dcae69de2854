"""Loading: the shipped tiny preset or files, and adapters onto any Wan MODEL."""

from __future__ import annotations

import re

import folder_paths
from comfy_api.latest import io

from ..apoavatar_core.checkpoints import presets
from ..apoavatar_core.checkpoints.presets import ADAPTERS
from ..apoavatar_core.checkpoints.safe_file import gguf_refusal
from ..apoavatar_core.comfyui import loading
from ..apoavatar_core.log_mel import LogMelEncoder
from .choices import chosen

MODEL_PATCHES, LORAS, DIFFUSION_MODELS = "model_patches", "loras", "diffusion_models"
ADAPTER_FOLDERS = (ADAPTERS, MODEL_PATCHES, DIFFUSION_MODELS)
POSE_MODEL_FOLDERS = (MODEL_PATCHES, LORAS)
OWN_POSE_ADAPTER = "the adapter's own"
TINY, TINY_BACKBONE, FILES = "tiny", "tiny_backbone", "files"
WARM_START = re.compile("infinitetalk|multitalk", re.IGNORECASE)


def adapter_files() -> list[str]:
    """What can be applied to a MODEL: the pack's adapters, the model patches, where InfiniteTalk's file is, and of the
    diffusion models those that are called so: other packs keep it there.
    """
    called_so = (name for name in folder_paths.get_filename_list(DIFFUSION_MODELS) if WARM_START.search(name))
    known = (*folder_paths.get_filename_list(ADAPTERS), *folder_paths.get_filename_list(MODEL_PATCHES))
    return list(dict.fromkeys((*known, *called_so)))


def pose_model_files() -> list[str]:
    """Where UniAnimate's file may be: it holds a LoRA too, so many keep it with those."""
    return [*folder_paths.get_filename_list(MODEL_PATCHES), *folder_paths.get_filename_list(LORAS)]


def path_of(name: str, folders: tuple[str, ...]) -> str:
    """The file of that name in the first of the folders that has one."""
    *before, last = folders
    found = (folder_paths.get_full_path(folder, name) for folder in before)
    return next(filter(None, found), None) or folder_paths.get_full_path_or_raise(last, name)


def file_input(name: str, folder: str, usual: str, tooltip: str) -> io.Combo.Input:
    """A choice of one folder's files, which starts on the first whose name looks right (a regular expression), if there is one."""
    files = folder_paths.get_filename_list(folder)
    likely = next((file for file in files if re.search(usual, file, re.IGNORECASE)), None)
    return io.Combo.Input(name, options=files, default=likely, tooltip=f"{tooltip}, from models/{folder}.")


class LoadModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        files = [
            file_input("diffusion_model", DIFFUSION_MODELS, "wan(?!.*vae)", "A Wan text- or image-to-video model"),
            file_input("vae", "vae", "wan", "The VAE of that model"),
            file_input("text_encoder", "text_encoders", "umt5", "umt5-xxl for Wan"),
            io.Combo.Input("adapter", options=adapter_files(), tooltip="A file that was made for that model."),
            file_input(
                "audio_encoder", "audio_encoders", "wav2vec",
                "The one that the adapter was made with, wav2vec2 for InfiniteTalk and MultiTalk",
            ),
        ]
        return io.Schema(
            node_id="ApoAvatarLoadModels",
            display_name="Load ApoAvatar Models",
            category="ApoAvatar",
            description="Everything a talking avatar needs, in one node: the small model that ships with the pack, or files.",
            search_aliases=["talking avatar", "talking head", "portrait", "speech to video", "audio to video", "s2v"],
            inputs=[
                io.DynamicCombo.Input(
                    "preset",
                    options=[
                        io.DynamicCombo.Option(TINY, []),
                        io.DynamicCombo.Option(FILES, files),
                        io.DynamicCombo.Option(TINY_BACKBONE, []),
                    ],
                    tooltip="tiny: the cartoon presenter that ships with the pack and runs on a CPU. files: choose your own. "
                    "tiny_backbone: the cartoon presenter before Apply ApoAvatar Adapter, for LoRAs between them.",
                ),
            ],
            outputs=[
                io.Model.Output(tooltip="Listens to the voice; tiny_backbone does not yet."),
                io.Clip.Output(tooltip="Reads the prompt, for CLIP Text Encode and ApoAvatar Conditioning."),
                io.Vae.Output(tooltip="Turns pictures into latents and back."),
                io.AudioEncoder.Output(tooltip="Hears the voice as the adapter does, for Audio Encoder Encode."),
            ],
        )

    @classmethod
    def execute(cls, preset: dict | None = None) -> io.NodeOutput:
        preset = chosen("preset", preset, (TINY, FILES, TINY_BACKBONE))
        if preset["preset"] in (TINY, TINY_BACKBONE):
            model = loading.load_tiny_diffusion_model()
            return io.NodeOutput(
                loading.apply_adapter(model, presets.TINY_ADAPTER) if preset["preset"] == TINY else model,
                loading.load_tiny_text_encoder(),
                loading.load_vae(presets.TINY_VAE),
                LogMelEncoder(),
            )

        def path_in(name: str, folder: str) -> str:
            return folder_paths.get_full_path_or_raise(folder, preset[name])

        model = loading.load_diffusion_model(path_in("diffusion_model", DIFFUSION_MODELS))
        return io.NodeOutput(
            loading.apply_adapter(model, path_of(preset["adapter"], ADAPTER_FOLDERS)),
            loading.load_text_encoder(path_in("text_encoder", "text_encoders"), folder_paths.get_folder_paths("embeddings")),
            loading.load_vae(path_in("vae", "vae")),
            loading.load_audio_encoder(path_in("audio_encoder", "audio_encoders")),
        )


class ApplyAdapter(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ApoAvatarApplyAdapter",
            display_name="Apply ApoAvatar Adapter",
            category="ApoAvatar",
            description="Teach a Wan model to listen and to follow a pose. LoRAs go between the loader and this node.",
            search_aliases=["infinitetalk", "multitalk", "unianimate", "lip sync", "audio adapter", "pose adapter"],
            inputs=[
                io.Model.Input("model", tooltip="A Wan text- or image-to-video model from any loader."),
                io.Combo.Input(
                    "adapter",
                    options=adapter_files(),
                    tooltip="A file from models/apoavatar_adapters that was trained for this model, or InfiniteTalk or "
                    "MultiTalk from models/model_patches or models/diffusion_models.",
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
            outputs=[io.Model.Output(tooltip="The model that listens and follows poses, for ApoAvatar Sampler or a guider.")],
        )

    @classmethod
    def validate_inputs(cls, adapter: str, pose_model: str = OWN_POSE_ADAPTER) -> bool | str:
        """In the place of ComfyUI's check of both lists, to say where a missing file belongs."""
        for name in (adapter, pose_model):
            if name.lower().endswith(".gguf"):
                return gguf_refusal(name)
        if adapter not in adapter_files():
            return (
                f"adapter: {adapter} is not there: put it into models/{ADAPTERS}, or an InfiniteTalk or MultiTalk file into "
                f"models/{MODEL_PATCHES} or models/{DIFFUSION_MODELS}, and refresh."
            )
        if pose_model not in (OWN_POSE_ADAPTER, *pose_model_files()):
            return f"pose_model: {pose_model} is not there: put it into models/{LORAS} or models/{MODEL_PATCHES}, and refresh."
        return True

    @classmethod
    def execute(cls, model, adapter: str, pose_model: str = OWN_POSE_ADAPTER) -> io.NodeOutput:
        pose_path = None if pose_model == OWN_POSE_ADAPTER else path_of(pose_model, POSE_MODEL_FOLDERS)
        return io.NodeOutput(loading.apply_adapter(model, path_of(adapter, ADAPTER_FOLDERS), pose_path))
