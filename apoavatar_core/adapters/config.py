"""Everything that is needed to rebuild an adapter; stored as JSON in its file's metadata."""

from __future__ import annotations

from dataclasses import dataclass

from .interaction import InteractionScheme


@dataclass(frozen=True)
class AdapterConfig:
    """Dimensions and hyper-parameters of one ApoAvatar adapter.

    backbone_dim, backbone_layers, backbone_in_channels: the DiT it was trained on (d, ℓ, C_in); C_in is None where any fits.
    heads: attention heads of Eq. 7. refining_heads: of Eq. 6; None for as many.
    audio_encoder, audio_feature_dim: name and feature width of the encoder whose output it takes.
    audio_dim, tokens_per_frame: d_a and the number of audio tokens that one *video* frame contributes.
    pose_channels: width of the per-frame pose embedding before it is merged into tokens.
    vae_stride: pixels per latent in height and width; patch: latents per token in height and width.
    interaction: one of `InteractionScheme`, the rows of Table 5.
    multitalk_hidden_dim: hidden width of MultiTalk's audio projection; None for the project's own.
    unianimate_image_channels: channels of the image condition that UniAnimate's reference pose adds to; None for the
        project's own pose adapter.
    holds_reference: given latent frames enter the model as they are instead of with noise, as InfiniteTalk is trained.
    leading_latents: how many of a clip's first latents it learned to be given at most, which are shown in the image condition, and
        held if the reference is: 1 is the portrait's own, from 2 on they are those of earlier frames. 0 where it learned none of
        this; InfiniteTalk then goes on in its own way.
    reference_latent: its backbone is shown the portrait in a frame of tokens beside the video (Wan's ref_conv).
    normalized_pose: the prior of a latent frame is in proportion to how much of its four pose frames is kept.
    keys_know_places: the keys of Eq. 6 get the (y, x) of their token. Files from before these four lack them.
    fps, window: frame rate and number of video frames of the training examples. highest_fps: the highest frame rate, where they have
        several; fps is then the lowest.
    width, height: of the training examples in pixels. Files from before these two lack them, and other projects' do.
    """

    backbone_dim: int
    backbone_layers: int
    backbone_in_channels: int | None
    heads: int
    audio_encoder: str
    audio_feature_dim: int
    audio_dim: int
    tokens_per_frame: int
    pose_channels: int
    fps: float
    window: int
    vae_stride: int = 8
    patch: int = 2
    interaction: str = InteractionScheme.BOTH.value
    refining_heads: int | None = None
    multitalk_hidden_dim: int | None = None
    unianimate_image_channels: int | None = None
    holds_reference: bool = False
    normalized_pose: bool = False
    keys_know_places: bool = False
    leading_latents: int = 0
    reference_latent: bool = False
    highest_fps: float | None = None
    width: int | None = None
    height: int | None = None

    @property
    def holds_earlier_frames(self) -> bool:
        """Whether it learned that latents of earlier frames enter the model without noise. Else they are kept as ComfyUI's
        inpainting keeps what a noise mask leaves out: with as much noise as the rest, as MultiTalk goes on too.
        """
        return self.holds_reference and self.leading_latents != 1
