"""The pixels' part of `docs/evidence.md`: what the ablations found, as tables, a plot, and sentences that follow from the
numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..gestures import frame_loudness
from ..pose import KeypointNetwork
from ..shares import share_of
from . import presenter
from .ablation import COLUMNS, TABLE_4, TABLE_5, Ablation, Variant, measure_films
from .page_parts import PIXELS, write_part
from .panels import panels, write_png

Results = Mapping[str, Sequence[Mapping[str, float]]]
"""The measures of each variant (by its key), one mapping per seed."""

HIGHER, LOWER = "↑", "↓"


def write_evidence(path: Path, ablation: Ablation, results: Results, network: KeypointNetwork) -> None:
    """Write the part, and its plot beside the page."""
    clips = ablation.held_out_clips
    others = [*clips[1:], clips[0]]
    bounds = {
        "drawn clips": measure_films([(clip, clip.frames) for clip in clips], network),
        "another clip's film": measure_films([(clip, other.frames) for clip, other in zip(clips, others)], network),
    }
    picture = path.with_name(f"{path.stem}_refocusing.png")
    speeds = {
        variant.title: presenter.watch(network, ablation.first_film(variant, 0)).hand_speeds
        for variant in (TABLE_4[1], TABLE_4[3])
    }
    write_png(picture, panels(frame_loudness(clips[0].speech, len(clips[0].frames), clips[0].fps), speeds))
    write_part(path, PIXELS, part(ablation, results, bounds, picture.name))


def part(ablation: Ablation, results: Results, bounds: Mapping[str, Mapping[str, float]], picture: str) -> str:
    """The pixels' part of the page in Markdown."""
    seeds = f"{ablation.seeds} seed{'s' * (ablation.seeds != 1)}"
    seconds, runs = ablation.training_seconds(), len(ablation.all_runs())
    return f"""## In pixels

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

How well each of them follows voice, pose and portrait is measured in the [model card](model_card.md).

### How the variants were compared

Every variant is a new adapter on the shipped backbone, trained with it as
[`{ablation.config.name}`](../apoavatar_core/training/configs/{ablation.config.name}) says, at equal budget, from {seeds}, and made
{ablation.clips} held-out clips from portrait and voice alone. Mean ± deviation over the seeds. The backbone had learned with refocusing
and frame-wise interaction before; its adapter was left out. This part is written by

```
python -m apoavatar_core.evaluation ablate pixels --seeds {ablation.seeds} --clips {ablation.clips}
```

(`--share 0 2` and `--share 1 2` split the runs between two processes.) One training took {seconds:.0f} s on the machine that ran
it, all {runs} together {runs * seconds / 3600:.1f} hours.

| column | what it is |
| --- | --- |
| mouth r, mouth lag | correlation of mouth opening and speech envelope at a lag of at most one frame; the best lag in frames |
| hand r | correlation of hand speed and loudness |
| onset | frames from an accent of the voice to the nearest peak of hand speed, 12 when there is none |
| quiet motion | hand speed while the voice is quiet, percent of the frame's height per frame |
| HKC, HKV | confidence and variance of hand keypoints, as the pack's keypoint network sees them |
| identity ΔE | colour difference of skin, hair and clothes from the portrait |
| Fréchet | distance of the keypoint network's features between generated and drawn clips; not comparable with published FVD |

What exceeds both deviations together counts as better or worse.

### Pose prior (the paper's Table 4)

{table(TABLE_4, results, bounds)}

{verdicts(TABLE_4, results)}

![Loudness (grey) and hand speed (red) of one clip]({picture})

Loudness (grey) and hand speed (red, open where no hand was seen) of the first held-out clip, as in the paper's Figure 5.

### Interaction (the paper's Table 5)

{table(TABLE_5, results, bounds)}

{verdicts(TABLE_5, results)}
"""


def table(variants: Sequence[Variant], results: Results, bounds: Mapping[str, Mapping[str, float]]) -> str:
    """One row per variant, and one for each of the bounds between which they lie."""
    lines = ["| " + " | ".join(["variant", *COLUMNS.values()]) + " |", "| --- |" + " --- |" * len(COLUMNS)]
    for variant in variants:
        cells = [mean_and_deviation([run[name] for run in results[variant.key]], digits(name)) for name in COLUMNS]
        lines.append("| " + " | ".join([variant.title, *cells]) + " |")
    for title, found in bounds.items():
        lines.append("| " + " | ".join([f"*{title}*", *(f"{found[name]:.{digits(name)}f}" for name in COLUMNS)]) + " |")
    return "\n".join(lines)


def digits(column: str) -> int:
    return 3 if column == "frechet" else 2


def mean_and_deviation(values: Sequence[float], digits: int) -> str:
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def verdicts(variants: Sequence[Variant], results: Results) -> str:
    """How each row compares with the first, and the last, the paper's method, with those between; and how often that is
    as the paper has it, where the first named of a pair is always the better.
    """
    first, *between, last = variants
    pairs = [(variant, first) for variant in (*between, last)] + [(last, variant) for variant in between]
    compared = [comparison(*pair, results) for pair in pairs]
    lines = [
        f"- *{variant.title}* against *{other.title}*: **better** in {listed(better)}; **worse** in {listed(worse)}; "
        f"undecided in {listed(undecided)}."
        for (variant, other), (better, worse, undecided) in zip(pairs, compared)
    ]
    agreed, contradicted, undecided = (sum(len(found[part]) for found in compared) for part in range(3))
    summary = (
        f"In the paper's own columns the first named of each pair is the better throughout. Here that holds in {agreed} of "
        f"{agreed + contradicted + undecided} comparisons, the opposite in {contradicted}, and {undecided} are undecided."
    )
    return "\n".join([*lines, "", summary])


def comparison(variant: Variant, other: Variant, results: Results) -> tuple[list[str], list[str], list[str]]:
    """Columns in which a variant is better, or worse, than another by more than both deviations together, and the rest."""
    better, worse, undecided = [], [], []
    for name, title in COLUMNS.items():
        if title[-1] not in (HIGHER, LOWER):
            continue
        after, before = (np.array([run[name] for run in results[row.key]]) for row in (variant, other))
        gain = (after.mean() - before.mean()) * (1 if title.endswith(HIGHER) else -1)
        noise = before.std(ddof=1) + after.std(ddof=1) if len(before) > 1 else np.inf
        (undecided if abs(gain) <= noise else better if gain > 0 else worse).append(title[:-2])
    return better, worse, undecided


def listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "nothing"


def run(ablation: Ablation, share: tuple[int, int], out: Path, network: KeypointNetwork, say: Callable[[str], None]) -> None:
    """Train and measure every variant from every seed, keeping what is there already, and write the page.

    share: process k of n, which does its share of the runs and writes no page.
    """
    runs = ablation.all_runs()
    found = {}
    for number, (variant, seed) in share_of(list(enumerate(runs)), share):
        say(f"run {number + 1}/{len(runs)}: {ablation.folder(variant, seed).name}")
        ablation.train(variant, seed)
        found[variant.key, seed] = ablation.measure(variant, seed, network)
    if share[1] > 1:
        say("done; when the other shares are too, the same command without --share writes the page")
        return
    results = {variant.key: [found[variant.key, seed] for seed in range(ablation.seeds)] for variant in ablation.variants}
    write_evidence(out, ablation, results, network)
    say(f"wrote {out}")
