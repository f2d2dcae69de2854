"""The whole ApoAvatar adapter: what a backbone needs to listen and to follow a pose (§3.2-3.3, Figure 2)."""

from __future__ import annotations

from torch import Tensor, nn

from ..grid import FRAMES_PER_LATENT
from .attention import Attention
from .audio_dit import AudioDiTAdapter
from .audio_injection import AudioInjection
from .audio_projection import AudioProjection
from .config import AdapterConfig
from .interaction import InteractionScheme
from .multitalk_projection import MultiTalkProjection
from .pose_adapter import PoseAdapter
from .unianimate_pose import UniAnimatePose


def _projection(config: AdapterConfig, settings: dict) -> nn.Module:
    if config.multitalk_hidden_dim is None:
        return AudioProjection(config.audio_feature_dim, config.audio_dim, config.tokens_per_frame, **settings)
    tokens = FRAMES_PER_LATENT * config.tokens_per_frame
    return MultiTalkProjection(config.audio_feature_dim, config.multitalk_hidden_dim, config.audio_dim, tokens, **settings)


def _pose_adapter(config: AdapterConfig, settings: dict) -> nn.Module:
    if config.unianimate_image_channels is None:
        return PoseAdapter(
            config.pose_channels,
            config.backbone_dim,
            config.vae_stride,
            config.patch,
            normalized=config.normalized_pose,
            **settings,
        )
    return UniAnimatePose(config.backbone_dim, config.unianimate_image_channels, **settings)


class ApoAvatarAdapter(nn.Module):
    """Pose prior, audio projection, Audio DiT adapter (where the scheme has one), and one audio injection per block.

    `operations` supplies the layers: `torch.nn` to train, `comfy.ops.manual_cast` to run inside ComfyUI.
    """

    def __init__(self, config: AdapterConfig, operations=nn, device=None, dtype=None):
        super().__init__()
        settings = {"operations": operations, "device": device, "dtype": dtype}
        self.config = config
        scheme = InteractionScheme(config.interaction)
        self.audio_projection = _projection(config, settings)
        self.audio_dit = (
            AudioDiTAdapter(
                config.audio_dim,
                config.backbone_dim,
                config.refining_heads or config.heads,
                places=config.keys_know_places,
                **settings,
            )
            if scheme.refines_audio
            else None
        )
        clip_wise = not scheme.hears_own_frame_only
        self.injections = nn.ModuleList(
            AudioInjection(config.backbone_dim, config.audio_dim, config.heads, clip_wise=clip_wise, **settings)
            for _ in range(config.backbone_layers)
        )
        self.pose_adapter = _pose_adapter(config, settings)

    def refined_audio(
        self, audio: Tensor, video: Tensor, timestep: Tensor, attention: Attention, grid: tuple[int, int]
    ) -> Tensor:
        """Encoder features [B, 8, T_lat, D] and video tokens X [B, T_lat, N_v, d], whose frames have `grid` rows and columns
        → Ã [B, T_lat, n_a, d_a].
        """
        tokens = self.audio_projection(audio)
        return tokens if self.audio_dit is None else self.audio_dit(tokens, video, timestep, attention, grid)

    def initialize(self) -> None:
        """Random weights that leave the backbone as it is: the last layer of every branch is zero."""
        for parameter_name, parameter in self.named_parameters():
            if parameter.ndim >= 2 and not parameter_name.endswith("position"):
                nn.init.xavier_uniform_(parameter)
            elif parameter_name.endswith("norm.weight"):
                nn.init.ones_(parameter)
            elif parameter_name.endswith("position"):
                nn.init.normal_(parameter, std=0.02)
            else:
                nn.init.zeros_(parameter)
        if self.audio_dit is not None:
            nn.init.zeros_(self.audio_dit.o.weight)
            nn.init.zeros_(self.audio_dit.time_out.weight)
        nn.init.zeros_(self.pose_adapter.tokens.weight)
        for injection in self.injections:
            nn.init.zeros_(injection.o.weight)
