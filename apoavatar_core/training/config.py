"""What a training run is: a YAML file that becomes one immutable `TrainingConfig`."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ..adapters.interaction import InteractionScheme
from .branches import BRANCHES, LORA
from .pose_schemes import PoseScheme
from .states import SHARES, refuse_other_shares


@dataclass(frozen=True)
class Backbone:
    """The DiT under training: `file` holds a Wan model, or `new` the dimensions of one with random weights.

    new: dim, ffn_dim, num_heads and num_layers of Wan's DiT. lora_rank: give every linear layer of its blocks a LoRA of
    this rank, the branch "lora". recompute: keep no activations of its blocks but compute them again in the backward
    pass, which takes a third longer and far less memory.
    """

    file: Path | None = None
    new: dict[str, int] | None = None
    lora_rank: int | None = None
    recompute: bool = False

    def __post_init__(self) -> None:
        if (self.file is None) == (self.new is None):
            raise ValueError("backbone needs either `file`, a Wan diffusion model, or `new`, the dimensions of one")
        if self.lora_rank is not None and self.lora_rank < 1:
            raise ValueError(f"lora_rank is {self.lora_rank}: use 1 or more, or leave it out")


@dataclass(frozen=True)
class NewAdapter:
    """Widths of an ApoAvatar adapter, the number of audio tokens that one video frame contributes, and how audio and
    video meet: one of `InteractionScheme`, the rows of Table 5.
    """

    audio_dim: int = 768
    tokens_per_frame: int = 8
    pose_channels: int = 64
    interaction: InteractionScheme = InteractionScheme.BOTH


@dataclass(frozen=True)
class Adapter:
    """The adapter under training: one from an adapter `file`, or a `new` one that starts by changing nothing."""

    file: Path | None = None
    new: NewAdapter | None = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.new is None):
            raise ValueError("adapter needs either `file`, an ApoAvatar adapter, or `new`, the widths of one")


@dataclass(frozen=True)
class Conditions:
    """Which conditions the examples keep, and how much of the pose.

    states: share of the examples in each of `STATES`, 0 for those that are not named. pose_scheme: one of `PoseScheme`,
    the rows of Table 4. Of the examples with a pose the share `whole_pose` sees it in every frame, as in the hard mode
    (A.1), and the share `soft_gate` weighed by the scheme's probability to keep each frame, as the refocused mode does;
    all others through a mask of 0 and 1 that is drawn with that probability.
    """

    states: dict[str, float] = field(default_factory=lambda: dict(SHARES))
    pose_scheme: PoseScheme = PoseScheme.REFOCUSING
    whole_pose: float = 0.3
    soft_gate: float = 0.0

    def __post_init__(self) -> None:
        refuse_other_shares(self.states)
        if not (self.whole_pose >= 0 and self.soft_gate >= 0 and self.whole_pose + self.soft_gate <= 1):
            raise ValueError(
                f"conditions: whole_pose is {self.whole_pose} and soft_gate is {self.soft_gate}: use shares that sum to 1 at most"
            )


@dataclass(frozen=True)
class Stage:
    """Consecutive steps under the same rules.

    batch: clips per step, over all processes; latent_frames: of each clip, from its start. The learning rate goes along
    half a cosine from `learning_rate` to `final_learning_rate` after `warmup` linear steps. train: the branches that
    learn. restore: branches that go back to the backbone file's weights when the stage begins (§4.1, stage 2).
    """

    steps: int
    batch: int
    latent_frames: int
    learning_rate: float
    final_learning_rate: float
    warmup: int = 100
    train: tuple[str, ...] = BRANCHES
    restore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (*self.train, *self.restore):
            if name not in (*BRANCHES, LORA):
                raise ValueError(f"stages: there is no branch {name!r}, only {', '.join(BRANCHES)} and {LORA}")
        if self.steps < 1 or self.batch < 1 or self.latent_frames < 1:
            raise ValueError("stages: steps, batch and latent_frames are 1 or more")


@dataclass(frozen=True)
class Loss:
    """Extra weight of the latents that move most and of the few that hold the mouth; 0 is Eq. 1 as it stands."""

    motion_weight: float = 0.0
    mouth_weight: float = 0.0


@dataclass(frozen=True)
class Samples:
    """Films of the averaged weights while training goes on: every `every` steps, in `steps` steps, decoded by the VAE
    file that the clips were prepared with.
    """

    vae: Path
    every: int = 500
    steps: int = 12

    def __post_init__(self) -> None:
        if self.every < 1 or self.steps < 1:
            raise ValueError("samples: every and steps are 1 or more")


@dataclass(frozen=True)
class TrainingConfig:
    """One run.

    data: folder that `prepare` wrote. run: folder for state, log and results. optimizer: "adamw", or "muon" for
    matrices with AdamW for the rest. shift: of the noise levels (1 = uniform). ema: decay of the averaged weights.
    precision: "fp32" or "bf16" (autocast). save_every: steps between saves of the state. samples: films to make on the way.
    """

    data: Path
    run: Path
    backbone: Backbone
    stages: tuple[Stage, ...]
    adapter: Adapter = field(default_factory=lambda: Adapter(new=NewAdapter()))
    conditions: Conditions = field(default_factory=Conditions)
    loss: Loss = field(default_factory=Loss)
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    clip_gradients: float = 1.0
    ema: float = 0.999
    shift: float = 3.0
    precision: str = "fp32"
    save_every: int = 100
    samples: Samples | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("optimizer", ("adamw", "muon")), ("precision", ("fp32", "bf16"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}: use {' or '.join(allowed)}")
        if self.backbone.lora_rank and self.trained & {"text", "video"}:
            raise ValueError(f"stages: beside a LoRA the backbone stays as it is; train only audio, pose and {LORA}")
        if LORA in self.trained and not self.backbone.lora_rank:
            raise ValueError(f"stages: to train {LORA}, give the backbone a lora_rank")

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
        ValueError: what is wrong, with the name of the field.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return build(TrainingConfig, content, "the configuration")
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def build(kind: Any, content: Any, name: str) -> Any:
    """`content`, plain data from YAML, as an instance of `kind`, a type of a dataclass's field."""
    if is_dataclass(kind):
        if not isinstance(content, dict):
            raise ValueError(f"{name} is {content!r}: write its fields under it")
        known = {item.name: item for item in fields(kind)}
        for key in content:
            if key not in known:
                raise ValueError(f"{name} has no field {key!r}, only {', '.join(known)}")
        for key, item in known.items():
            if key not in content and item.default is MISSING and item.default_factory is MISSING:
                raise ValueError(f"{name} lacks the field {key!r}")
        hints = get_type_hints(kind)
        return kind(**{key: build(hints[key], value, key) for key, value in content.items()})
    arguments = get_args(kind)
    if type(None) in arguments:
        return None if content is None else build(arguments[0], content, name)
    if arguments and arguments[-1] is Ellipsis:
        if not isinstance(content, list):
            raise ValueError(f"{name} is {content!r}: write a list")
        return tuple(build(arguments[0], value, name) for value in content)
    if arguments:  # dict[str, int]
        if not isinstance(content, dict):
            raise ValueError(f"{name} is {content!r}: write names with numbers under it")
        return {str(key): build(arguments[1], value, str(key)) for key, value in content.items()}
    if kind is bool:
        if not isinstance(content, bool):
            raise ValueError(f"{name} is {content!r}, not true or false")
        return content
    try:
        if kind in (int, float) and (isinstance(content, bool) or kind(content) != float(content)):
            raise ValueError
        return kind(content)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {content!r}, not {describe(kind)}") from None


def describe(kind: Any) -> str:
    """What values a leaf field takes, for people."""
    if issubclass(kind, Enum):
        return "one of " + ", ".join(member.value for member in kind)
    return {int: "a whole number", float: "a number", Path: "a path"}.get(kind, "a text")
