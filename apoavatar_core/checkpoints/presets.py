"""The models that ship with the pack, one folder per kind of model as ComfyUI sorts them."""

from __future__ import annotations

from pathlib import Path

PRESETS = Path(__file__).resolve().parents[1] / "presets"

ADAPTERS, POSE_MODELS = "apoavatar_adapters", "apoavatar_pose"
"""The kinds of model that ComfyUI has no folder for."""

TINY_DIT = PRESETS / "diffusion_models" / "apoavatar_tiny_dit.safetensors"
TINY_VAE = PRESETS / "vae" / "apoavatar_tiny_vae.safetensors"
TINY_COLOURS = PRESETS / "vae" / "apoavatar_tiny_vae.colours.json"
"""What colour each channel of that VAE's latents is, for live previews."""
TINY_T5 = PRESETS / "text_encoders" / "apoavatar_tiny_t5.safetensors"
TINY_ADAPTER = PRESETS / ADAPTERS / "apoavatar_tiny_adapter.safetensors"
TINY_POSE = PRESETS / POSE_MODELS / "apoavatar_tiny_pose.safetensors"
MEDIAPIPE = PRESETS / POSE_MODELS / "mediapipe_holistic.safetensors"
