"""The keypoints' part of `docs/evidence.md`: answers in sentences, tables and pictures, then how they came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .. import pictures
from .. import variants as v
from ..answers_page import counted, differences_table, interval, means_table, sentences, told
from ..page_parts import KEYPOINTS, write_part
from ..panels import panels, write_png
from ..presenter import write_report
from ..questions import MOST_SEEDS, Answer, Results, answers_to, difference_of
from ..statistics import LEVEL, POWER, RESAMPLES, Difference
from ..variants import Variant
from .columns import MEASURES
from .modes import BORROWED, FREE, HARD, MODES, STEPS
from .network import HEADS, LAYERS, WIDTH
from .questions import COMPARISONS, FEWEST_SEEDS, QUESTIONS
from .runs import PILOT, TRACKS_OF, Keypoints
from .training import STATES
from .voices import FPS
from .world import MAIN, WORLDS

OTHERS = (v.NONE, v.CLIP, v.TEMPORAL)
CURVES = ("free_hand_r", "free_worth", "misfit_mouth_r", "borrowed_open")
"""The measures whose answers are told for all worlds."""


@dataclass(frozen=True)
class Findings:
    """All numbers of the page. results: of each world by its name; explained: share of the hands' speed that the voice
    explains.
    """

    seeds: int
    results: Mapping[str, Results]
    explained: Mapping[str, float]
    seconds: float

    @property
    def answers(self) -> list[Answer]:
        return answers_to(QUESTIONS, MEASURES, self.results[MAIN.name])

    @property
    def drawn(self) -> dict[str, Sequence[Mapping[str, float]]]:
        """The drawn clips' own measures, by their title."""
        return {"drawn clips": self.results[MAIN.name]["drawn"]}

    def curve(self, measure: str) -> dict[str, list[Difference]]:
        """Refocusing minus each other scheme in every world, from the freest."""
        return {
            f"refocusing - {other.key}": [
                difference_of(measure, v.REFOCUSING, other, self.results[world.name]) for world in WORLDS
            ]
            for other in OTHERS
        }


def find(keypoints: Keypoints, seeds: int) -> Findings:
    """What came out of so many seeds, all of which are done."""
    runs = [keypoints.read(job.world, job.variant, seed) for job in keypoints.jobs(seeds) for seed in job.seeds]
    return Findings(
        seeds,
        {world.name: keypoints.results(world, seeds) for world in WORLDS},
        keypoints.explained(),
        float(np.mean([run["training_seconds"] + run["measuring_seconds"] for run in runs])),
    )


def write_page(path: Path, keypoints: Keypoints, seeds: int, json: Path | None) -> None:
    """Write the part of the page, its pictures beside it, and all numbers as JSON where they are asked for."""
    findings = find(keypoints, seeds)
    beside = {name: path.with_name(f"{path.stem}_{name}.png") for name in ("differences", "worlds", "modes")}
    write_png(beside["differences"], pictures.forest(findings.answers))
    curve = findings.curve(CURVES[0])
    shares = [findings.explained[world.name] for world in WORLDS]
    write_png(beside["worlds"], pictures.curve(curve, shares, "hand r, pose-free: difference"))
    write_png(beside["modes"], modes_picture(keypoints.read(MAIN, v.REFOCUSING, TRACKS_OF)["tracks"]))
    write_part(path, KEYPOINTS, part(findings, keypoints, {name: file.name for name, file in beside.items()}))
    if json:
        write_report(json, report(findings))


def report(findings: Findings) -> dict:
    """Everything as plain numbers."""
    told = [
        {"question": answer.question.text, "measure": answer.question.measure}
        | {"first": answer.first.key, "second": answer.second.key}
        | asdict(answer.difference)
        | {"corrected": answer.corrected, "verdict": answer.verdict, "seeds_needed": answer.seeds_needed}
        for answer in findings.answers
    ]
    return {"seeds": findings.seeds, "explained": dict(findings.explained), "answers": told, "results": dict(findings.results)}


def modes_picture(tracks: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Loudness against the hands' speed in three modes: uint8 RGB."""
    return panels(np.array(tracks["loudness"]), {MODES[mode]: np.array(tracks[mode]) for mode in (FREE, HARD, BORROWED)})


def part(findings: Findings, keypoints: Keypoints, names: Mapping[str, str]) -> str:
    """The part in Markdown."""
    return f"""## In keypoints: answers

From {counted(findings.seeds, "seed")} of every variant{first_look(findings.seeds)}.
Brackets hold the mean paired difference and its 95 % interval. "Better" and "worse" hold for all {COMPARISONS} comparisons
together (Holm, {LEVEL:.0%}); "the same" means that there is no difference worth noticing, for all of them together too
(Bonferroni).

{sentences(findings.answers)}

{earlier_pilot(findings.answers)}

{across_worlds(findings)}

### Differences

![Paired differences with their intervals]({names["differences"]})

In multiples of the smallest difference worth noticing (the pale band); right is better for the first.

{differences_table(findings.answers)}

![How the difference changes with the share that the voice explains]({names["worlds"]})

{worlds_table(findings)}

### Pose prior (the paper's Table 4, with gates that are not the voice's own)

{means_table((*v.TABLE_4, *v.CONTROLS), findings.results[MAIN.name], MEASURES, findings.drawn)}

### Interaction (the paper's Table 5)

{means_table(v.TABLE_5, findings.results[MAIN.name], MEASURES, findings.drawn)}

![Loudness (grey) and the hands' speed (red) in three modes]({names["modes"]})

One held-out clip made by refocusing's first seed: loudness (grey) and the hands' speed (red).

### How it was done

{method(findings, keypoints)}
"""


def first_look(seeds: int) -> str:
    return "" if seeds >= FEWEST_SEEDS else f", fewer than the {FEWEST_SEEDS} that are wanted: a first look"


def earlier_pilot(found: Sequence[Answer]) -> str:
    """What became of three findings of an earlier pilot."""

    def verdict(measure: str, first: Variant, second: Variant) -> str:
        return next(a.verdict for a in found if (a.question.measure, a.first, a.second) == (measure, first, second))

    def became(word: str, confirming: str) -> str:
        return "open" if word == "undecided" else "confirmed" if word == confirming else "contradicted"

    same = became(verdict("free_hand_r", v.REFOCUSING, v.TEMPORAL), "the same")
    behind = became(verdict("free_hand_r", v.TEMPORAL, v.CLIP), "better")
    ahead = became(verdict("borrowed_open", v.REFOCUSING, v.TEMPORAL), "better")
    return (
        f"An earlier pilot could not tell refocusing from temporal dropout pose-free ({same}), saw whole-clip dropout clearly "
        f"behind ({behind}), and refocusing ahead under soft gates ({ahead})."
    )


def across_worlds(findings: Findings) -> str:
    """How the first question's answer changes with the share that the voice explains."""
    parts = [
        f"{other.key} by "
        + ", ".join(
            f"{difference.mean:+.3f} at {findings.explained[world.name]:.0%}"
            for world, difference in zip(WORLDS, findings.curve(CURVES[0])[f"refocusing - {other.key}"])
        )
        for other in OTHERS
    ]
    return (
        "**With the share of the hands' speed that the voice explains**, refocusing's pose-free hand r differs from that of "
        + "; of ".join(parts)
        + ". Intervals are in the table below; they are not corrected for their number."
    )


def worlds_table(findings: Findings) -> str:
    """Refocusing minus the others in every world."""
    columns = [f"{world.name}: {findings.explained[world.name]:.0%}" for world in WORLDS]
    lines = ["| measure | difference | " + " | ".join(columns) + " |", "| --- " * (2 + len(WORLDS)) + "|"]
    for measure in CURVES:
        for name, line in findings.curve(measure).items():
            lines.append(f"| {MEASURES[measure].title} | {name} | " + " | ".join(map(interval, line)) + " |")
    return "\n".join(lines)


def shares_told() -> str:
    told = {"S3": "by the voice alone", "S4": "with a pose"}
    return ", ".join(f"{share:.0%} of them {told[state]}" for state, share in STATES.items())


def method(findings: Findings, keypoints: Keypoints) -> str:
    budget = keypoints.budget
    trainings = len(keypoints.jobs(1))
    worlds_told = ", ".join(f"*{w.name}* {w.voice_share:g} ({findings.explained[w.name]:.0%})" for w in WORLDS)
    return f"""The right hand, the mouth and the left hand of `apoavatar_core/gestures` are three tokens of a latent frame: wrists
in arm lengths from their shoulder, the mouth's opening and width, {budget.frames} frames at {FPS} a second. A DiT of {LAYERS}
blocks, {WIDTH} wide with {HEADS} heads, learns them by flow matching from its first weight on, with the pack's own adapter:
log-mel features of spoken voices, audio projection, Audio DiT adapter (FWCA), audio injections, and the pose adapter, which
sees a picture of two by six pixels whose colours are the hands' places. As in Wan, tokens know their place after FWCA only, so
its keys know it if the adapter tells them. The pose does not show the mouth. Nothing tells the model who performs: which hand
moves no voice says.

Each training: {budget.steps} steps of {budget.batch} clips, AdamW at {budget.rate:g}, drawn from {budget.performances}
performances of {keypoints.voices} voices, {shares_told()}, under the paper's masks alone. Measured on {keypoints.clips} clips of
{keypoints.held_out_voices} other voices with {STEPS} Euler steps, every scale of Eq. 8 one. The variants of a seed share
performances, windows, states, noise, σ, first weights, the exam's clips and its noise. Three worlds differ in the share of the
gestures that stay on the voice's accents, and so in what share of the hands' speed the voice explains (law of total variance, in
brackets): {worlds_told}. All variants are compared in *{MAIN.name}*, Table 4's in all three.

One training with its measures took {findings.seconds:.0f} s of processor time, {trainings} of them a seed. The page is written by

```
python -m apoavatar_core.evaluation ablate keypoints --seeds {findings.seeds}
```

Without `--seeds` a pilot of {PILOT} seeds tells how many it takes: a paired t test with {POWER:.0%} power at
{LEVEL:.0%} / {COMPARISONS} for the smallest difference worth noticing, at least {FEWEST_SEEDS} and at most {MOST_SEEDS} seeds;
those of the pilot count with the others. "Seeds needed" in the table is what the seeds of this page ask for. Intervals:
percentiles of {RESAMPLES:,} bootstrap samples of seeds. p: Student's paired t.

{told(MEASURES)}"""
