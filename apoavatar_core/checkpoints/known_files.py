"""Facts of other people's model files: the one table from which README and `docs/checkpoints.md` are written.

None of these files was downloaded for it. Sizes and hashes are those that public manifests state, each for the revision
named here, whose page on Hugging Face shows both; what no manifest states stays None and is written as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownFile:
    """A model file that a workflow of this pack loads.

    name, folder: the file, and the folder of ComfyUI's `models/` that it belongs into.
    repository, path: where it is on Hugging Face.
    revision: the commit of that repository for which size or hash was stated; None where neither was.
    bytes, sha256: None where unknown.
    licence: of the model that the file was made from; None where unconfirmed.
    licence_source: the page that names the licence, or where it was looked for.
    unconfirmed: a sentence on what is not known of the licence; empty where nothing is open.
    layout, bits: the list of its tensors in `tests/comfy/manifests`, and how wide most of them are; None without a list.
    """

    name: str
    folder: str
    repository: str
    path: str
    licence: str | None
    licence_source: str
    revision: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    unconfirmed: str = ""
    layout: str | None = None
    bits: int | None = None

    @property
    def url(self) -> str:
        """Where ComfyUI downloads it."""
        return f"https://huggingface.co/{self.repository}/resolve/main/{self.path}"

    @property
    def page(self) -> str:
        """Where size and hash can be compared."""
        return f"https://huggingface.co/{self.repository}/blob/{self.revision or 'main'}/{self.path}"


WAN_REPACKAGED = "Comfy-Org/Wan_2.1_ComfyUI_repackaged"
WAN_2_2_REPACKAGED = "Comfy-Org/Wan_2.2_ComfyUI_Repackaged"
WAN_LICENCE = "https://huggingface.co/Wan-AI/Wan2.1-I2V-14B-480P/blob/main/LICENSE.txt"

KNOWN_FILES = (
    KnownFile(
        name="Wan2_1-I2V-14B-480p_fp8_e4m3fn_scaled_KJ.safetensors",
        folder="diffusion_models",
        repository="Kijai/WanVideo_comfy_fp8_scaled",
        path="I2V/Wan2_1-I2V-14B-480p_fp8_e4m3fn_scaled_KJ.safetensors",
        revision="72cfd0d6f2269b14f94c38bfee2744e0ed172c38",
        bytes=16_643_349_018,
        sha256="2ff922282cd84589702e6e8c26e083d1160bfc2b217dd44e1ae2688441dc495d",
        licence="Apache-2.0",
        licence_source=WAN_LICENCE,
        layout="wan2.1_i2v_14B",
        bits=8,
    ),
    KnownFile(
        name="wan2.1_t2v_1.3B_fp16.safetensors",
        folder="diffusion_models",
        repository=WAN_REPACKAGED,
        path="split_files/diffusion_models/wan2.1_t2v_1.3B_fp16.safetensors",
        revision="06e001fc51048fb03433a6fb25334de7836704a5",
        bytes=2_838_303_560,
        sha256="be531024cd9018cb5b48c40cfbb6a6191645b1c792eb8bf4f8c1c6e10f924dc5",
        licence="Apache-2.0",
        licence_source="https://github.com/Wan-Video/Wan2.1",
        layout="wan2.1_t2v_1.3B",
        bits=16,
    ),
    KnownFile(
        name="wan2.2_s2v_14B_fp8_scaled.safetensors",
        folder="diffusion_models",
        repository=WAN_2_2_REPACKAGED,
        path="split_files/diffusion_models/wan2.2_s2v_14B_fp8_scaled.safetensors",
        licence="Apache-2.0",
        licence_source="https://github.com/Wan-Video/Wan2.2",
    ),
    KnownFile(
        name="wan2.1_infiniteTalk_multi_fp16.safetensors",
        folder="model_patches",
        repository=WAN_REPACKAGED,
        path="split_files/model_patches/wan2.1_infiniteTalk_multi_fp16.safetensors",
        revision="617a7633e636506f850e043bc4605f290a466a8e",
        bytes=5_124_439_112,
        sha256="4c2486cdfb6ff9a9f27408e98e11e20619136933b20411e0c365b1e84075d195",
        licence="Apache-2.0",
        licence_source="https://github.com/MeiGen-AI/InfiniteTalk",
        layout="infinitetalk_model_patch",
        bits=16,
    ),
    KnownFile(
        name="UniAnimate-Wan2.1-14B-Lora-12000-fp16.safetensors",
        folder="loras",
        repository="Kijai/WanVideo_comfy",
        path="UniAnimate-Wan2.1-14B-Lora-12000-fp16.safetensors",
        licence=None,
        licence_source="https://github.com/ali-vilab/UniAnimate-DiT",
        unconfirmed="Its README names no licence and says that the project is intended for academic research.",
    ),
    KnownFile(
        name="umt5_xxl_fp8_e4m3fn_scaled.safetensors",
        folder="text_encoders",
        repository=WAN_REPACKAGED,
        path="split_files/text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors",
        revision="617a7633e636506f850e043bc4605f290a466a8e",
        bytes=6_735_906_897,
        sha256="c3355d30191f1f066b26d93fba017ae9809dce6c627dda5f6a66eaa651204f68",
        licence="Apache-2.0",
        licence_source="https://huggingface.co/google/umt5-xxl",
        layout="umt5_xxl",
        bits=8,
    ),
    KnownFile(
        name="clip_vision_h.safetensors",
        folder="clip_vision",
        repository=WAN_REPACKAGED,
        path="split_files/clip_vision/clip_vision_h.safetensors",
        revision="617a7633e636506f850e043bc4605f290a466a8e",
        bytes=1_264_219_396,
        sha256="64a7ef761bfccbadbaa3da77366aac4185a6c58fa5de5f589b42a65bcc21f161",
        licence=None,
        licence_source="https://huggingface.co/laion/CLIP-ViT-H-14-frozen-xlm-roberta-large-laion5B-s13B-b90k",
        unconfirmed="LAION's model of this architecture is MIT; that this file was made from it is not confirmed.",
    ),
    KnownFile(
        name="Wan2_1_VAE_bf16.safetensors",
        folder="vae",
        repository="Kijai/WanVideo_comfy",
        path="Wan2_1_VAE_bf16.safetensors",
        revision="87badb1f794c15daf51db60838a433ca08bb218f",
        bytes=253_806_278,
        sha256="1ab9a32cc2c740f6e39d80d367ce5dcc28db8c71b79b28670546b8973e9d75f9",
        licence="Apache-2.0",
        licence_source=WAN_LICENCE,
        layout="wan2.1_vae",
        bits=16,
    ),
    KnownFile(
        name="wav2vec2-chinese-base_fp16.safetensors",
        folder="audio_encoders",
        repository="Kijai/wav2vec2_safetensors",
        path="wav2vec2-chinese-base_fp16.safetensors",
        revision="87847d3bc53702afda44078249e7c33e867827c4",
        bytes=190_115_368,
        sha256="000813e441020f18cff844c969d2d5d4adc2a5ce46b2db1f23950b05d88805b4",
        licence="MIT",
        licence_source="https://huggingface.co/TencentGameMate/chinese-wav2vec2-base",
        layout="wav2vec2_base",
        bits=16,
    ),
    KnownFile(
        name="wav2vec2_large_english_fp16.safetensors",
        folder="audio_encoders",
        repository=WAN_2_2_REPACKAGED,
        path="split_files/audio_encoders/wav2vec2_large_english_fp16.safetensors",
        licence=None,
        licence_source="https://huggingface.co/jonatasgrosman/wav2vec2-large-xlsr-53-english",
        unconfirmed="The model of this name that Wan's S2V listens with is Apache-2.0; that this file was made from it is not "
        "confirmed.",
    ),
    KnownFile(
        name="lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors",
        folder="loras",
        repository="Kijai/WanVideo_comfy",
        path="Lightx2v/lightx2v_I2V_14B_480p_cfg_step_distill_rank64_bf16.safetensors",
        revision="8260d429d19fd7a72304cad059160b95d843913f",
        bytes=738_005_744,
        sha256="85c4a61c30e0497aa44b91d93a893b624708461a56fe5485183b28fa07e2dfb3",
        licence="Apache-2.0",
        licence_source="https://huggingface.co/lightx2v/Wan2.1-I2V-14B-480P-StepDistill-CfgDistill-Lightx2v",
    ),
)
