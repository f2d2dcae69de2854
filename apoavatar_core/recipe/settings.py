"""What a whole run is: a YAML file that becomes one immutable `Recipe`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from ..settings import Count, Positive, Settings, WholeNumber, changed, read_settings

RECIPE = Path(__file__).resolve().parents[1] / "tiny" / "configs" / "recipe.yaml"
"""The tiny preset's."""


class Clips(Settings):
    """Drawn clips: `count` to learn from, as far as `minutes` let (no limit when left out), and `held_out` of people and
    voices that those don't have, to look at. size: of a side in pixels. fps: frame rate of all of them; others: how many
    more there are to learn from of other frame rates, which the VAE does without.
    """

    count: Count
    held_out: Count = 8
    size: Count = 128
    frames: Count = 49
    fps: Positive = 24.0
    others: dict[Positive, Count] = Field(default_factory=dict)
    minutes: Positive | None = None

    @model_validator(mode="after")
    def others_are_others(self) -> Clips:
        if self.fps in self.others:
            raise ValueError(f"others: {self.fps:g} is the rate of fps: count those clips in count")
        return self

    @property
    def counts(self) -> dict[float, int]:
        """How many there are to learn from, by their frame rates."""
        return {self.fps: self.count} | self.others

    def of(self, total: int) -> Clips:
        """Fewer, in proportion at every frame rate, so that `total` are left to learn from; but one at each."""
        whole = sum(self.counts.values())
        count, *others = (max(1, count * total // whole) for count in self.counts.values())
        return changed(self, count=count, others=dict(zip(self.others, others)))


class Part(Settings):
    """One training: its configuration, a file beside the recipe's, and its budget.

    minutes: what its steps may take; they are made fewer, each of its stages in proportion, when they would take longer.
    No limit when left out.
    """

    config: Path
    minutes: Positive | None = None


class Text(Settings):
    """The text encoder's training."""

    steps: Count = 1500


class Recipe(Settings):
    """One whole run.

    dit: of DiT and adapter. sample_every: steps of it between films of held-out clips, `sampled` of them. measured:
    held-out clips that the finished preset is measured on; 0 for none.
    """

    clips: Clips
    vae: Part
    text: Text = Text()
    dit: Part
    sample_every: Count = 500
    sampled: Count = 2
    keypoints: Part
    measured: WholeNumber = 8


def read_recipe(path: Path) -> Recipe:
    """The recipe of a YAML file.

    Raises:
        ValueError: what is wrong with which fields.
    """
    recipe = read_settings(Recipe, path)
    beside = {
        name: getattr(recipe, name).model_copy(update={"config": path.parent / getattr(recipe, name).config})
        for name in ("vae", "dit", "keypoints")
    }
    return recipe.model_copy(update=beside)
