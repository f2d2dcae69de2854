"""The pixels' part of `docs/evidence.md`: strips of the shipped model's modes, then answers, tables and pictures of the
variants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...gestures import frame_loudness
from .. import pictures, presenter
from .. import variants as v
from ..answers_page import counted, differences_table, means_table, sentences, told
from ..page_parts import PIXELS, write_part
from ..panels import panels, write_png
from ..questions import Results, answers_to
from ..statistics import LEVEL
from .measuring import measure_films, measure_losses
from .questions import COMPARISONS, MEASURES, QUESTIONS
from .runs import FIRST_WEIGHTS, STEPS, Pixels

MODES = """### The modes

One voice, every sixth frame under the waveform, with the gate's keep weight in orange, made by the shipped workflows
(`python workflows/make_pictures.py`). By the voice alone:

![Pose-free: mouth and hands by the voice alone](demo.jpg)

A given pose as it is, and the same pose refocused by the voice, so that it acts less where the voice is quiet:

![Hard: the given pose](hard.jpg)
![Refocused: the given pose where the voice is loud](refocused.jpg)

Without a portrait:

![Reference-free: a person of words](reference_free.jpg)

How well each of them follows voice, pose and portrait is measured in the [model card](model_card.md)."""


def write_page(path: Path, pixels: Pixels, results: Results) -> None:
    """Write the part of the page, and its pictures beside it."""
    names = {name: path.with_name(f"{path.stem}_{name}.png") for name in ("pixels", "refocusing")}
    write_png(names["pixels"], pictures.forest(answers_to(QUESTIONS, MEASURES, results)))
    first = pixels.held_out_clips[0]
    speeds = {
        variant.title: presenter.watch(pixels.network, pixels.first_film(variant, 0)).hand_speeds
        for variant in (v.CLIP, v.REFOCUSING)
    }
    write_png(names["refocusing"], panels(frame_loudness(first.speech, len(first.frames), first.fps), speeds))
    write_part(path, PIXELS, part(pixels, results, bounds(pixels), {name: file.name for name, file in names.items()}))


def bounds(pixels: Pixels) -> dict[str, list[dict[str, float]]]:
    """Between what all others lie, by their titles: films that are the drawn clips, or those of other voices; and what the
    backbone predicts without an adapter.
    """
    clips = pixels.held_out_clips
    others = [*clips[1:], clips[0]]
    dit, _ = pixels.trained(v.REFOCUSING, 0)
    first = pixels.run_folder(v.REFOCUSING, 0) / FIRST_WEIGHTS
    found = {
        "drawn clips": measure_films([(clip, clip.frames) for clip in clips], pixels.network),
        "another clip's film": measure_films([(clip, other.frames) for clip, other in zip(clips, others)], pixels.network),
        "the backbone alone": measure_losses(dit, first, pixels.held_out),
    }
    return {title: [measured] for title, measured in found.items()}


def part(
    pixels: Pixels,
    results: Results,
    beside: Mapping[str, Sequence[Mapping[str, float]]],
    names: Mapping[str, str],
) -> str:
    """The part in Markdown."""
    found = answers_to(QUESTIONS, MEASURES, results)
    return f"""## In pixels

The shipped model in its four modes, and the paper's ablations in miniature, on the synthetic presenter, whose voice, pose and
colours are known.

{MODES}

### Answers

From {counted(pixels.seeds, "seed")} of every variant, each an adapter trained on the shipped backbone, which stays as it is.
Brackets hold the mean paired difference and its 95 % interval. "Better" and "worse" hold for all {COMPARISONS} comparisons
together (Holm, {LEVEL:.0%}); "the same" means that there is no difference worth noticing, for all of them together too
(Bonferroni).

{sentences(found)}

![Paired differences with their intervals]({names["pixels"]})

In multiples of the smallest difference worth noticing (the pale band); right is better for the first.

{differences_table(found)}

### Pose prior (the paper's Table 4, with gates that are not the voice's own)

{means_table((*v.TABLE_4, *v.CONTROLS), results, MEASURES, beside)}

![Loudness (grey) and hand speed (red) of one clip]({names["refocusing"]})

Loudness (grey) and hand speed (red, open where no hand was seen) of the first held-out clip, as in the paper's Figure 5.

### Interaction (the paper's Table 5)

{means_table(v.TABLE_5, results, MEASURES, beside)}

### How the variants were compared

{method(pixels)}
"""


def method(pixels: Pixels) -> str:
    """How it was done, and with which commands."""
    seconds, runs = pixels.training_seconds(), len(pixels.runs())
    config, made, clips = pixels.config.name, pixels.prepared.settings, len(pixels.prepared.paths)
    return f"""Every variant is a new adapter on the shipped backbone, whose own adapter was left out, trained as
[`{config}`](../apoavatar_core/training/configs/{config}) says. The variants of a seed share clips, states, noise, σ and first
weights; the controls see copies of the clips whose p of Eq. 4 was changed. Each made {pixels.clips} held-out clips from portrait
and voice alone, in {STEPS} steps, with the same noise, and predicted the same noisy latents of them. The backbone had learned
with refocusing and frame-wise interaction before, beside an adapter of its own. p: Student's paired t. Intervals: percentiles
of bootstrap samples of seeds, too narrow where seeds are few (of three they are the least and the largest difference), so the
verdict does not ask them. They learn from {clips} clips, and this part is written by

```
python -m apoavatar_core.tiny clips --out runs/clips --clips {clips} --frames {made.frames}
python -m apoavatar_core.training prepare runs/clips --out {pixels.training.data.as_posix()}
python -m apoavatar_core.evaluation ablate pixels --seeds {pixels.seeds} --clips {pixels.clips}
```

(`--share 0 2` and `--share 1 2` split the runs between two processes.) One training took {seconds:.0f} s beside another on the
machine that ran it, all {runs} together {runs * seconds / 3600:.1f} hours of one core, without what measures them.

{told(MEASURES)}"""
