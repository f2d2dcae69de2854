"""A part of `docs/evidence.md` that is in pixels: answers, tables and pictures of the variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...gestures import frame_loudness
from .. import pictures, presenter
from .. import variants as v
from ..answers_page import counted, differences_table, means_table, sentences
from ..page_parts import write_part
from ..panels import panels, write_png
from ..questions import Results, answers_to
from ..statistics import LEVEL
from .measuring import measure_films, measure_losses
from .questions import COMPARISONS, MEASURES, QUESTIONS
from .runs import FIRST_WEIGHTS, STEPS, Pixels
from .sections import SECTIONS, Section


def write_page(path: Path, name: str, pixels: Pixels, results: Results) -> None:
    """Write one of SECTIONS into the page, and its pictures beside it."""
    names = {what: path.with_name(f"{path.stem}_{name}_{what}.png") for what in ("differences", "hands")}
    write_png(names["differences"], pictures.forest(answers_to(QUESTIONS, MEASURES, results)))
    first = pixels.held_out_clips[0]
    speeds = {
        variant.title: presenter.watch(pixels.network, pixels.first_film(variant, 0)).hand_speeds
        for variant in (v.CLIP, v.REFOCUSING)
    }
    write_png(names["hands"], panels(frame_loudness(first.speech, len(first.frames), first.fps), speeds))
    text = part(SECTIONS[name], pixels, results, bounds(pixels), {what: file.name for what, file in names.items()})
    write_part(path, name, f"{text}\n\n{method(name, pixels)}")


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
    section: Section,
    pixels: Pixels,
    results: Results,
    beside: Mapping[str, Sequence[Mapping[str, float]]],
    names: Mapping[str, str],
) -> str:
    """What was found, in Markdown."""
    found = answers_to(QUESTIONS, MEASURES, results)
    return f"""{section.opening}

### Answers

From {counted(pixels.seeds, "seed")} of every variant, each an adapter trained on {section.backbone}; the backbone stays as it is.
Brackets hold the mean paired difference and its 95 % interval. "Better" and "worse" hold for all {COMPARISONS} comparisons
together (Holm, {LEVEL:.0%}); "the same" means that there is no difference worth noticing, for all of them together too
(Bonferroni).

{sentences(found)}

![Paired differences with their intervals]({names["differences"]})

In multiples of the smallest difference worth noticing (the pale band); right is better for the first.

{differences_table(found)}

### Pose prior (the paper's Table 4, with gates that are not the voice's own)

{means_table((*v.TABLE_4, *v.CONTROLS), results, MEASURES, beside)}

![Loudness (grey) and hand speed (red) of one clip]({names["hands"]})

Loudness (grey) and hand speed (red, open where no hand was seen) of the first held-out clip, as in the paper's Figure 5.

### Interaction (the paper's Table 5)

{means_table(v.TABLE_5, results, MEASURES, beside)}"""


def method(name: str, pixels: Pixels) -> str:
    """How it was done, and with which commands."""
    section, seconds, runs = SECTIONS[name], pixels.training_seconds(), len(pixels.runs())
    config, made, clips = pixels.config.name, pixels.prepared.settings, len(pixels.prepared.paths)
    commands = (
        f"python -m apoavatar_core.tiny clips --out runs/clips --clips {clips} --frames {made.frames}",
        f"python -m apoavatar_core.training prepare runs/clips --out {pixels.training.data.as_posix()}",
        *section.made_with,
        f"python -m apoavatar_core.evaluation ablate {name} --seeds {pixels.seeds} --clips {pixels.clips}",
    )
    lines = "\n".join(commands)
    return f"""### How the variants were compared

Every variant is a new adapter, trained as [`{config}`](../apoavatar_core/training/configs/{config}) says on
{section.backbone}. {section.past}
The variants of a seed share clips, states, noise, σ and first weights; the controls see copies of the clips whose p of Eq. 4 was
changed. Each made {pixels.clips} held-out clips from portrait and voice alone, in {STEPS} steps, with the same noise, and predicted the
same noisy latents of them. p: Student's paired t. Intervals: percentiles of bootstrap samples of seeds, too narrow where seeds are few
(of three they are the least and the largest difference), so the verdict does not ask them. They learn from {clips} clips, and this part
is written by

```
{lines}
```

(`--share 0 2` and `--share 1 2` split the runs between two processes.) A training took {seconds:.0f} s beside others that ran at the
same time, all {runs} of them {runs * seconds / 3600:.1f} hours of such, without what measures them;
[`experiments.md`](experiments.md) names the machine.

{section.closing}"""
