"""What a training run is: a YAML file that becomes one immutable `TrainingConfig`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ..adapters.interaction import InteractionScheme
from ..settings import Count, Filled, NotNegative, Positive, Settings, Share, WholeNumber, read_settings
from .branches import BRANCHES, LORA
from .pose_schemes import PoseScheme
from .states import SHARES, checked_leading, checked_shares

Branch = Literal["audio", "pose", "text", "video", "lora"]
"""One of `BRANCHES`, or `LORA`."""


class Dimensions(Settings):
    """Of a new DiT, in Wan's own words. reference: it is shown the portrait beside the video, in every window, by the
    `ref_conv` of Wan's Fun-Control models.
    """

    dim: Count
    ffn_dim: Count
    num_heads: Count
    num_layers: Count
    reference: bool = False

    @model_validator(mode="after")
    def heads_are_even(self) -> Dimensions:
        if self.dim % (2 * self.num_heads):
            raise ValueError(f"a dim of {self.dim} does not divide into {self.num_heads} heads of an even width")
        return self


class Backbone(Settings):
    """The DiT under training: `file` holds a Wan model, or `new` the dimensions of one with random weights.

    lora_rank: give every linear layer of its blocks a LoRA of this rank, the branch "lora". recompute: keep no
    activations of its blocks but compute them again in the backward pass, which takes a third longer and far less memory.
    """

    file: Path | None = None
    new: Dimensions | None = None
    lora_rank: Count | None = None
    recompute: bool = False

    @model_validator(mode="after")
    def is_one_of_two(self) -> Backbone:
        if (self.file is None) == (self.new is None):
            raise ValueError("needs either `file`, a Wan diffusion model, or `new`, the dimensions of one")
        return self


class NewAdapter(Settings):
    """Widths of an ApoAvatar adapter, the number of audio tokens that one video frame contributes, and how audio and
    video meet: one of `InteractionScheme`, the rows of Table 5.
    """

    audio_dim: Count = 768
    tokens_per_frame: Count = 8
    pose_channels: Count = 64
    interaction: InteractionScheme = InteractionScheme.BOTH


class Adapter(Settings):
    """The adapter under training: one from an adapter `file`, or a `new` one that starts by changing nothing."""

    file: Path | None = None
    new: NewAdapter | None = None

    @model_validator(mode="after")
    def is_one_of_two(self) -> Adapter:
        if (self.file is None) == (self.new is None):
            raise ValueError("needs either `file`, an ApoAvatar adapter, or `new`, the widths of one")
        return self


class Conditions(Settings):
    """Which conditions the examples keep, and how much of the pose.

    states: share of the examples in each of `STATES`, 0 for those that are not named. speaking: share of the captions that
    carry the speaking prompt (§4.1); both kinds are met at inference. pose_scheme: one of `PoseScheme`,
    the rows of Table 4. Of the examples with a pose the share `whole_pose` sees it in every frame, as in the hard mode
    (A.1), and the share `soft_gate` weighed by the scheme's probability to keep each frame, as the refocused mode does;
    all others through a mask of 0 and 1 that is drawn with that probability.

    leading: share of the examples by how many of their first latents are given, clean, so that windows can follow each other:
    0 none, 1 the portrait's own, from 2 on those of earlier frames. None gives all of them the portrait's own in the image
    condition alone, and noise on it in its place.
    """

    states: Annotated[dict[str, float], AfterValidator(checked_shares)] = Field(default_factory=lambda: dict(SHARES))
    speaking: Share = 0.5
    pose_scheme: PoseScheme = PoseScheme.REFOCUSING
    whole_pose: Share = 0.3
    soft_gate: Share = 0.0
    leading: Annotated[dict[WholeNumber, float], AfterValidator(checked_leading)] | None = None

    @model_validator(mode="after")
    def shares_of_the_pose_fit_into_one(self) -> Conditions:
        if self.whole_pose + self.soft_gate > 1:
            raise ValueError(
                f"whole_pose is {self.whole_pose} and soft_gate is {self.soft_gate}: use shares that sum to 1 at most"
            )
        return self


class Stage(Settings):
    """Consecutive steps under the same rules.

    batch: clips per step, over all processes; latent_frames: of each clip, from its start. The learning rate goes along
    half a cosine from `learning_rate` to `final_learning_rate` after `warmup` linear steps. train: the branches that
    learn. restore: branches that go back to the backbone file's weights when the stage begins (§4.1, stage 2). conditions: of
    this stage, in the place of the run's.
    """

    steps: Count
    batch: Count
    latent_frames: Count
    learning_rate: Positive
    final_learning_rate: NotNegative
    warmup: WholeNumber = 100
    train: Annotated[tuple[Branch, ...], Filled] = BRANCHES
    restore: tuple[Branch, ...] = ()
    conditions: Conditions | None = None


class Loss(Settings):
    """Extra weight of the latents that move most and of the few that hold the mouth; 0 is Eq. 1 as it stands."""

    motion_weight: NotNegative = 0.0
    mouth_weight: NotNegative = 0.0


class Samples(Settings):
    """Films of the averaged weights while training goes on: every `every` steps, in `steps` steps, decoded by the VAE
    file that the clips were prepared with. They show as many `clips` of the folder `data`, which `prepare`
    wrote, or of the run's own when it is left out.
    """

    vae: Path
    data: Path | None = None
    clips: Count = 1
    every: Count = 500
    steps: Count = 12


class TrainingConfig(Settings):
    """One run.

    data: folder that `prepare` wrote, or one that holds such folders, each of another frame rate. run: folder for state, log
    and results. optimizer: "adamw", or "muon" for matrices with AdamW for the rest. clip_gradients: the most that the
    gradients' length may be. ema: decay of the averaged weights, 0 to below 1. shift: of the noise levels (1 = uniform).
    precision: "fp32" or "bf16" (autocast). save_every: steps between saves of the state. samples: films to make on the way.
    """

    data: Path
    run: Path
    backbone: Backbone
    stages: Annotated[tuple[Stage, ...], Filled]
    adapter: Adapter = Adapter(new=NewAdapter())
    conditions: Conditions = Conditions()
    loss: Loss = Loss()
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: NotNegative = 0.01
    clip_gradients: Positive = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    shift: Positive = 3.0
    precision: Literal["fp32", "bf16"] = "fp32"
    save_every: Count = 100
    samples: Samples | None = None
    seed: WholeNumber = 0

    @model_validator(mode="after")
    def a_lora_learns_beside_a_backbone_that_rests(self) -> TrainingConfig:
        if self.backbone.lora_rank and self.trained & {"text", "video"}:
            raise ValueError(f"stages: beside a LoRA the backbone stays as it is; train only audio, pose and {LORA}")
        if LORA in self.trained and not self.backbone.lora_rank:
            raise ValueError(f"stages: to train {LORA}, give the backbone a lora_rank")
        return self

    @model_validator(mode="after")
    def latents_are_left_to_make(self) -> TrainingConfig:
        for stage in self.stages:
            leading = self.conditions_of(stage).leading
            if leading and stage.latent_frames <= max(*leading, 1):
                raise ValueError(
                    f"conditions.leading: {max(leading)} latents are given of {stage.latent_frames} in a stage: raise latent_frames"
                )
        return self

    @model_validator(mode="after")
    def no_stage_gives_more_than_the_run(self) -> TrainingConfig:
        """What an adapter can go on from is said of the run."""
        known = set(self.conditions.leading or ())
        for number, stage in enumerate(self.stages):
            if not known.issuperset(self.conditions_of(stage).leading or ()):
                raise ValueError(f"stages.{number}.conditions.leading: name its numbers in the run's conditions.leading too")
            if known and self.conditions_of(stage).leading is None:
                raise ValueError(f"stages.{number}.conditions.leading: the run's conditions have it; give it here too")
        return self

    def conditions_of(self, stage: Stage) -> Conditions:
        """Of the stage's examples."""
        return stage.conditions or self.conditions

    @property
    def trained(self) -> set[str]:
        """Branches that learn in one of the stages."""
        return {branch for stage in self.stages for branch in stage.train}

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)


def read_config(path: Path) -> TrainingConfig:
    """The run that a YAML file describes; relative paths in it start at the working directory.

    Raises:
        ValueError: what is wrong, with the path of the field.
    """
    return read_settings(TrainingConfig, path)
