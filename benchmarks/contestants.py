"""Who is measured: a plain Wan DiT, ComfyUI's own InfiniteTalk on it, and ours on it, all with the same random weights.

They meet the same noise, portrait, prompt and voice. A call is what one step of a sampler costs: ComfyUI puts the
conditions together, runs the model with its patches and turns the prediction into latents.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TypeVar

import comfy.clip_vision
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.samplers
import comfy.sd
import torch
from comfy.ldm.wan.model import WanModel
from comfy_extras.nodes_model_patch import MultiTalkModelPatch
from comfy_extras.nodes_wan import WanInfiniteTalkToVideo, linear_interpolation
from einops import rearrange
from torch import Tensor, nn

from apoavatar_core.adapters import AdapterConfig
from apoavatar_core.adapters.pose_adapter import group_by_latent_frame
from apoavatar_core.checkpoints.multitalk import adapter_from_multitalk, is_new
from apoavatar_core.comfyui import conditions
from apoavatar_core.comfyui.attaching import attach
from apoavatar_core.comfyui.loading import load_adapter
from apoavatar_core.conditioning.voice import latent_frame_windows
from apoavatar_core.grid import LATENT_CHANNELS, MASK_CHANNELS, PIXELS_PER_LATENT, latent_frames

from .sizes import Size

PLAIN, NATIVE, OURS = "plain Wan", "native InfiniteTalk", "ApoAvatar"
WARM_START = "ApoAvatar before its training"
"""The adapter as it begins, and no pose: what it adds to InfiniteTalk changes nothing yet."""

CLIP_TOKENS, CLIP_WIDTH = 257, 1280
VOICE_LAYERS, VOICE_WIDTH = 12, 768
"""Of wav2vec2, which ComfyUI's InfiniteTalk layers are made for."""
MOTION_FRAMES = 9
SIGMA = 0.8

Found = TypeVar("Found")


class Contestants:
    """The models, ready to be called on clips of any length."""
    def __init__(self, size: Size):
        self.size, self.dtype = size, getattr(torch, size.dtype)
        self.model = random_wan(size, self.dtype)
        layers = random_like(infinitetalk_layers(size, "meta").state_dict(), self.dtype, seed=1)
        self.infinitetalk = as_model_patch(infinitetalk_layers(size, "cpu", self.dtype), layers)
        config, start = adapter_from_multitalk(layers)
        self.warm_start = with_adapter(self.model, config, start)
        # As training leaves it: zeros in the new branches might be multiplied faster than numbers.
        acting = random_like({name: tensor for name, tensor in start.items() if is_new(name)}, self.dtype, seed=2)
        self.adapter = load_adapter(config, start | acting)
        self.adapted = attach(self.model, self.adapter)
        backbone = bytes_of(self.model.model.state_dict())
        self.weight_bytes = {
            PLAIN: backbone,
            NATIVE: backbone + bytes_of(layers),
            OURS: backbone + bytes_of(start),
        }

    def guiders(self, frames: int) -> dict[str, object]:
        """A native guider, which calls the model once a step, for each contestant on a clip of that many video frames."""
        height, width = self.size.picture
        patched, native, *_ = infinitetalk_node(self.model, self.infinitetalk, self.size, frames)
        heard = {conditions.AUDIO: voice_for_us(frames)}
        seen = heard | pose(frames, height, width)
        return {
            PLAIN: guider(self.model, native),
            NATIVE: guider(patched, native),
            OURS: guider(self.adapted, conditions.with_conditions(native, seen)),
            WARM_START: guider(self.warm_start, conditions.with_conditions(native, heard)),
        }

    @torch.inference_mode()
    def embed_pose(self, frames: int) -> Callable[[], Tensor]:
        """A call that embeds the pose of a clip, as it is done once before the steps."""
        pictures, gate = pose(frames, *self.size.picture).values()
        comfy.model_management.load_models_gpu([self.adapter])
        device = comfy.model_management.get_torch_device()
        return torch.inference_mode()(lambda: self.adapter.model.pose_adapter.merged(pictures, gate, device, self.dtype))

    def noise(self, frames: int) -> Tensor:
        """[1, 16, T_lat, h, w]."""
        height, width = (side // PIXELS_PER_LATENT for side in self.size.picture)
        return random(1, LATENT_CHANNELS, latent_frames(frames), height, width, seed=3)


@torch.inference_mode()
def during_sampling(guider, noise: Tensor, probe: Callable[[Callable[[], Tensor]], Found]) -> Found:
    """What `probe(call)` returns, where `call()` is one call of the model, as a sampler makes it. Everything that ComfyUI
    does once in a sampling, such as loading the model, is done before.
    """
    found = []

    def sampler(model, x, sigmas, extra_args, **_):
        found.append(probe(lambda: model(x, sigmas[:1], **extra_args)))
        return x

    picture, sigmas = torch.zeros_like(noise), torch.tensor([SIGMA, 0.0])
    guider.sample(noise, picture, comfy.samplers.KSAMPLER(sampler), sigmas, disable_pbar=True, seed=0)
    return found[0]


def condition_bytes(guider) -> int:
    """Of the tensors that ComfyUI holds for the positive condition during a sampling."""
    (condition,) = guider.conds["positive"]
    return bytes_of({name: given.cond for name, given in condition["model_conds"].items() if torch.is_tensor(given.cond)})


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_like(tensors: Mapping[str, Tensor], dtype: torch.dtype, seed: int) -> dict[str, Tensor]:
    """Random weights of these names and shapes that keep activations near 1; the tensors themselves may be on `meta`."""
    device = comfy.model_management.get_torch_device()  # sixteen billion numbers take a GPU seconds and a CPU minutes
    generator = torch.Generator(device).manual_seed(seed)

    def weight(name: str, shape: torch.Size) -> Tensor:
        noise = torch.randn(shape, generator=generator, device=device) * max(shape[1:].numel(), 16) ** -0.5
        return (noise + ("norm" in name and name.endswith("weight"))).to("cpu", dtype)

    return {name: weight(name, tensor.shape) for name, tensor in tensors.items()}


def bytes_of(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def random_wan(size: Size, dtype: torch.dtype):
    """A Wan 2.1 image-to-video MODEL, through ComfyUI's loader."""
    told = {"num_heads": size.heads, "text_dim": size.text_width, "text_len": size.text_tokens}
    network = WanModel(
        model_type="i2v", dim=size.width, ffn_dim=size.feed_forward, num_layers=size.layers,
        in_dim=2 * LATENT_CHANNELS + MASK_CHANNELS, operations=nn, device="meta", **told,
    )  # fmt: skip
    weights = random_like(network.state_dict(), dtype, seed=0)
    return comfy.sd.load_diffusion_model_state_dict(
        weights, {"dtype": dtype}, metadata={"config": json.dumps({"transformer": told})}
    )


def infinitetalk_layers(size: Size, device: str, dtype: torch.dtype | None = None) -> nn.Module:
    """ComfyUI's InfiniteTalk layers with uninitialised weights."""
    return MultiTalkModelPatch(
        in_dim=size.width, intermediate_dim=size.audio_hidden, out_dim=size.audio_width, num_layers=size.layers,
        operations=comfy.ops.manual_cast, device=device, dtype=dtype,
    )  # fmt: skip


def as_model_patch(layers: nn.Module, weights: dict[str, Tensor]):
    """MODEL_PATCH, as ComfyUI's loader makes it, but in the weights' own precision: that loader makes them fp32."""
    layers.load_state_dict(weights, assign=True)
    return comfy.model_patcher.CoreModelPatcher(
        layers, comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    )


def with_adapter(model, config: AdapterConfig, weights: dict[str, Tensor]):
    return attach(model, load_adapter(config, weights))


class RandomLatents:
    """In the VAE's place: what the latents of the portrait show does not change what a call costs."""
    def encode(self, pictures: Tensor) -> Tensor:
        """[T, H, W, 3] → [1, 16, T_lat, H/8, W/8]."""
        frames, height, width = pictures.shape[:3]
        return random(1, LATENT_CHANNELS, latent_frames(frames), height // PIXELS_PER_LATENT, width // PIXELS_PER_LATENT, seed=4)


@torch.inference_mode()
def infinitetalk_node(model, infinitetalk, size: Size, frames: int) -> tuple:
    """What ComfyUI's InfiniteTalk node returns: the patched MODEL, positive and negative CONDITIONING, and more."""
    height, width = size.picture
    text = [[random(1, size.text_tokens, size.text_width, seed=5), {}]]
    looked_at = comfy.clip_vision.Output()
    looked_at["penultimate_hidden_states"] = random(1, CLIP_TOKENS, CLIP_WIDTH, seed=6)
    return WanInfiniteTalkToVideo.execute(
        {"mode": "single_speaker"}, model, infinitetalk, text, text, RandomLatents(), width, height, frames,
        {"encoded_audio_all_layers": voice(frames)}, MOTION_FRAMES,
        start_image=torch.zeros(1, height, width, 3), audio_scale=1.0, clip_vision_output=looked_at,
    ).result  # fmt: skip


def voice(frames: int) -> list[Tensor]:
    """What wav2vec2 returns for a clip, at 50 Hz: its input and the outputs of its layers, each [1, 2 T, 768]."""
    return list(random(1 + VOICE_LAYERS, 1, 2 * frames, VOICE_WIDTH, seed=7))


def voice_for_us(frames: int) -> Tensor:
    """The same voice as our conditioning [1, 8, T_lat, 12 · 768].

    At the native node's moments, which differ from the pack's own by up to half a frame, so that both predict the same.
    """
    heard = linear_interpolation(torch.cat(voice(frames)[1:]), input_fps=50, output_fps=25)
    return latent_frame_windows(rearrange(heard, "l t d -> t (l d)"))[None]


def pose(frames: int, height: int, width: int) -> dict[str, Tensor]:
    """A rendered pose and a gate that is half open, as our conditioning."""
    generator = torch.Generator().manual_seed(8)
    grouped = group_by_latent_frame(torch.rand(1, frames, 3, height, width, generator=generator))
    return {
        conditions.POSE: rearrange(grouped, "b t f c h w -> b (f c) t h w").contiguous(),
        conditions.POSE_GATE: torch.full((1, grouped.shape[2], grouped.shape[1]), 0.5),
    }


def guider(model, positive):

    result = comfy.samplers.CFGGuider(model)
    result.set_conds(positive, positive)
    result.set_cfg(1.0)  # one call a step
    return result
