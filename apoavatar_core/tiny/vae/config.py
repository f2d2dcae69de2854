"""The settings of one run of the VAE's training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ...grid import PIXELS_PER_LATENT, fills_latent_frames
from ...settings import Count, Filled, NotNegative, Positive, Settings, Share, WholeNumber
from ...training.schedule import half_cosine, stage_at, warm_up


class VAEStage(Settings):
    """Consecutive steps on crops of `crop` by `crop` pixels and `frames` video frames, `batch` of them a step. Muon's
    learning rate goes along half a cosine from `learning_rate` to `final_learning_rate`.
    """

    steps: Count
    batch: Count
    frames: Count
    crop: Count
    learning_rate: Positive
    final_learning_rate: NotNegative

    @model_validator(mode="after")
    def fills_latents(self) -> VAEStage:
        if not fills_latent_frames(self.frames):
            raise ValueError(f"{self.frames} frames fill no latent frames: use 4n+1, such as 17")
        if self.crop % PIXELS_PER_LATENT:
            raise ValueError(f"a crop of {self.crop} is no multiple of {PIXELS_PER_LATENT}")
        return self


class VAETrainingConfig(Settings):
    """One run, of a VAE of width `dim`.

    start: file of the weights that it begins with; without it they are new. trained: `decoder` leaves the encoder of
    `start`, and so the latents and their statistics, as they are to the bit: what was trained on them keeps fitting;
    without it everything learns. latent_noise: deviation of the noise that the decoder sees, in the latents' units
    (an exported file's latents have Wan's published deviations, not 1). latent_penalty: weight of the latents' mean square in the loss;
    motion_weight: of what changes between frames. moving_share: of the crops, centred on a wrist in fast motion;
    detail_share: of the others, on a mouth or a wrist. average: decay of the average of the weights, which is what a
    run measures and writes. compile_norms: wants a C++ compiler and saved a sixth of an image step and a third of a
    clip step. save_every, measure_every: steps.
    """

    dim: Count = 16
    start: Path | None = None
    trained: Literal["decoder"] | None = None
    stages: Annotated[tuple[VAEStage, ...], Filled]
    latent_noise: NotNegative = 0.1
    latent_penalty: NotNegative = 1e-3
    motion_weight: NotNegative = 0.5
    moving_share: Share = 0.5
    detail_share: Share = 0.5
    average: Annotated[float, Field(ge=0, lt=1)] = 0.995
    compile_norms: bool = False
    save_every: Count = 50
    measure_every: Count = 500
    seed: WholeNumber = 0

    @model_validator(mode="after")
    def has_an_encoder(self) -> VAETrainingConfig:
        if self.trained and self.start is None:
            raise ValueError("trained: decoder wants the file whose encoder stays as it is: name it in start")
        return self

    def stage_at(self, step: int) -> tuple[VAEStage, float]:
        """The stage of a step of the run, and its learning rate after 20 steps of warm-up."""
        stage, stage_step = stage_at(self.stages, step)
        rate = half_cosine(stage.learning_rate, stage.final_learning_rate, stage_step / stage.steps)
        return stage, rate * warm_up(step, 20)
