"""The words of the two parts of `docs/evidence.md` that are in pixels, which differ in the backbone that adapters are trained on."""

from __future__ import annotations

from dataclasses import dataclass

from ..answers_page import told
from ..page_parts import PIXELS, PLAIN
from .questions import MEASURES


@dataclass(frozen=True)
class Section:
    """What a part of the page says of the backbone that its adapters are trained on.

    opening: before the answers, with the part's heading; backbone: what it is; past: a sentence of what it had learned; made_with:
    the commands that made it; closing: after everything.
    """

    opening: str
    backbone: str
    past: str
    made_with: tuple[str, ...]
    closing: str


SHIPPED = Section(
    opening="""## In pixels

The shipped model in its four modes, and the paper's ablations in miniature, on the synthetic presenter, whose voice, pose and
colours are known.

### The modes

One voice, every sixth frame under the waveform, with the gate's keep weight in orange, made by the shipped workflows
(`python workflows/make_pictures.py`). By the voice alone:

![Pose-free: mouth and hands by the voice alone](demo.jpg)

A given pose as it is, and the same pose refocused by the voice, so that it acts less where the voice is quiet:

![Hard: the given pose](hard.jpg)
![Refocused: the given pose where the voice is loud](refocused.jpg)

Without a portrait:

![Reference-free: a person of words](reference_free.jpg)

How well each of them follows voice, pose and portrait is measured in the [model card](model_card.md).""",
    backbone="the shipped backbone, whose own adapter was left out",
    past="It had learned with refocusing and frame-wise interaction before, beside an adapter of its own.",
    made_with=(),
    closing=told(MEASURES),
)
NEVER_MET_ONE = Section(
    opening="""## In pixels, on a backbone that never met an adapter

The shipped backbone learned beside an adapter with refocusing, which may suit the same again. So the same variants, questions and
measures once more on a backbone that draws by texts and portraits alone.""",
    backbone="a backbone that [`plain.yaml`](../apoavatar_core/training/configs/plain.yaml) trained by texts and portraits alone",
    past="Voices and poses are new to it.",
    made_with=(
        "python -m apoavatar_core.tiny clips --out runs/plain_clips --clips 1000 --frames 49",
        "python -m apoavatar_core.training prepare runs/plain_clips --out runs/plain_prepared",
        "python -m apoavatar_core.training train apoavatar_core/training/configs/plain.yaml",
    ),
    closing="The measures, and what is worth noticing of each, are those of the part before.",
)
SECTIONS = {PIXELS: SHIPPED, PLAIN: NEVER_MET_ONE}
