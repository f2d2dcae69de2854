"""A page about a run, made from nothing but its folder: how far it is, curves, held-out clips, measures."""

from __future__ import annotations

import html
import json
import math
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from ..data.clips import load_frames, load_keypoints
from ..evaluation.contact_sheet import chosen_frames, contact_sheet
from ..evaluation.verdicts import number, verdict
from ..files import whole_file, write_whole
from ..pose import from_frame
from ..training.log import Entry, read_log
from .folder import Progress, RunFolder
from .pictures import curve, smoothed
from .settings import Recipe
from .stages import STAGES, Stage

TRAININGS = ("vae", "dit", "keypoints")
PANELS = ("through the VAE", "with its pose", "by its voice alone")
"""Of a training's film, side by side."""
UNDRAWN = {"step", "time", "learning rate", "steps per second"}
"""Numbers of a log that make no curve."""
DECIBELS = "_db"
"""How the names of measures of the VAE end in its log."""
SHOWN = 5
"""Frames of a clip on its contact sheet."""
STYLE = (
    "body{font:15px sans-serif;max-width:1350px;margin:2em auto;color:#222}table{border-collapse:collapse}"
    "td,th{padding:.25em .8em;text-align:left;border-bottom:1px solid #ddd}img{max-width:100%;image-rendering:pixelated}"
    ".now{background:#fff3d6}.missed{color:#b00}"
)


def write_page(recipe: Recipe, run: RunFolder, progress: Progress, working: Stage | None) -> None:
    """Write the page and its pictures beside it. working: the stage that is worked on."""
    logs = {name: read_log(run.log(name)) for name in TRAININGS}
    parts = [
        f"<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=120><title>{html.escape(run.root.name)}</title>",
        f"<style>{STYLE}</style><h1>{html.escape(run.root.name)}</h1><p>{time.strftime('%Y-%m-%d %H:%M')}</p>",
        stage_table(recipe, run, progress, working, logs),
        *section("Curves", curves(run, logs)),
        *section("VAE: held-out clips and their fastest hands, drawn above decoded", newest(run, run.vae, "step_*.png")),
        quality_table(logs["vae"]),
        *section("Held-out clips, their faster hand enlarged: " + ", ".join(("drawn", *PANELS)), film_sheets(run)),
        measures_table(run),
    ]
    write_whole(run.page, "\n".join(parts))


def section(title: str, pictures: Iterator[str]) -> list[str]:
    """A heading and pictures, nothing when there are none."""
    shown = list(pictures)
    return [f"<h2>{title}</h2>", *shown] if shown else []


def stage_table(
    recipe: Recipe, run: RunFolder, progress: Progress, working: Stage | None, logs: dict[str, list[Entry]]
) -> str:
    rows = []
    for stage in STAGES:
        done = progress.is_done(stage.name)
        state = "done" if done else "working" if stage is working else "stopped" if progress.seconds(stage.name) else ""
        budget, steps = stage.budget(recipe), steps_text(run, stage.name, logs.get(stage.name, []))
        cells = (stage.title, state, steps, f"{progress.seconds(stage.name) / 60:.1f}", f"{budget:g}" if budget else "")
        rows.append(row("td", cells, "now" if stage is working else ""))
    return f"<table>{row('th', ('stage', '', 'steps', 'minutes', 'budget'))}{''.join(rows)}</table>"


def row(kind: str, cells: Sequence[str], style: str = "") -> str:
    return f"<tr class='{style}'>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"


def steps_text(run: RunFolder, stage: str, log: list[Entry]) -> str:
    """How many steps of how many, and what one takes."""
    if not run.plan(stage).exists() or stage not in TRAININGS:
        return ""
    plan = json.loads(run.plan(stage).read_text(encoding="utf-8"))
    total = plan["steps"] if "steps" in plan else sum(each["steps"] for each in plan["stages"])
    if len(log) < 2:
        return f"0 of {total}"
    latest = log[-50:]
    durations = np.diff([entry["time"] for entry in latest]) / np.maximum(np.diff([entry["step"] for entry in latest]), 1)
    each = float(np.median(durations))
    left = each * (total - log[-1]["step"]) / 60
    return f"{log[-1]['step']:.0f} of {total}, {each:.2f} s each" + (f", {left:.0f} minutes left" if left >= 1 else "")


def curves(run: RunFolder, logs: dict[str, list[Entry]]) -> Iterator[str]:
    """Every number that a training logs, but those that are `UNDRAWN`."""
    for stage, log in logs.items():
        for name in dict.fromkeys(name for entry in log for name in entry if name not in UNDRAWN):
            entries = [entry for entry in log if math.isfinite(entry.get(name, math.nan))]
            if len(entries) > 1:
                places, values = smoothed([entry[name] for entry in entries])
                steps = np.interp(places, range(len(entries)), [entry["step"] for entry in entries])
                title = f"{stage} {name.replace('_', ' ')}"
                yield shown(run, f"{stage}_{name}.png".replace(" ", "_"), curve(title, steps, values), title)


def shown(run: RunFolder, name: str, picture: np.ndarray, title: str) -> str:
    """Save a picture beside the page; returns how the page shows it."""
    with whole_file(run.page.with_name(name)) as path:
        Image.fromarray(picture).save(path)
    return f"<img src='{name}' alt='{html.escape(title)}' title='{html.escape(title)}'>"


def newest(run: RunFolder, folder: Path, pattern: str) -> Iterator[str]:
    """The picture of the last step that a training left in its folder."""
    for path in sorted(folder.glob(pattern))[-1:]:
        yield f"<p>step {step_of(path)}</p>" + shown(run, f"{folder.name}.png", np.asarray(Image.open(path).convert("RGB")), path.stem)


def quality_table(log: list[Entry]) -> str:
    """PSNRs of the VAE on held-out clips, a row for each time it was measured, the newest on top; "" before the first."""
    measured = [entry for entry in log if any(name.endswith(DECIBELS) for name in entry)]
    if not measured:
        return ""
    names = [name for name in measured[-1] if name.endswith(DECIBELS)]
    rows = [row("th", ["step", *(f"{name.removesuffix(DECIBELS)}, dB" for name in names)])]
    for entry in reversed(measured):
        rows.append(row("td", [f"{entry['step']:.0f}", *(f"{entry.get(name, math.nan):.2f}" for name in names)]))
    return f"<table>{''.join(rows)}</table>"


def step_of(path: Path) -> int:
    """The number in the name of a picture or a film, `step_000500…`."""
    return int(re.match(r"step_(\d+)", path.name)[1])


def film_sheets(run: RunFolder) -> Iterator[str]:
    """Contact sheets of the films of the DiT's last step, and the films."""
    films = sorted((run.dit / "samples").glob("step_*.gif"))
    for path in films:
        if step_of(path) == step_of(films[-1]):
            clip = path.stem.split("_", 2)[2]
            with Image.open(path) as film:
                frames = np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)])
            people = [from_frame(frame) for frame in load_keypoints(run.held_out, int(clip))[: len(frames)]]
            rows = [load_frames(run.held_out, int(clip)), *np.split(frames, len(PANELS), axis=2)]
            sheet = contact_sheet(rows, people, chosen_frames(people, SHOWN))
            with whole_file(run.page.with_name(f"film_{clip}.gif")) as copy:
                copy.write_bytes(path.read_bytes())
            yield f"<p>step {step_of(path)}, clip {clip}</p><img src='film_{clip}.gif' alt='film'><br>"
            yield shown(run, f"sheet_{clip}.png", sheet, f"clip {clip}")


def measures_table(run: RunFolder) -> str:
    """What the finished files measure beside drawn clips and targets."""
    report = json.loads(run.measures.read_text(encoding="utf-8")) if run.measures.exists() else {}
    if not report:
        return ""
    rows = []
    for found in report["measures"].values():
        said = verdict(found) if found["target"] else ""
        cells = (found["title"], number(found["value"], 3), number(found["drawn"], 3), found["target"] or "", said)
        rows.append(row("td", cells, "missed" if found["met"] is False else ""))
    head = row("th", ("measure", "generated", "drawn", "target", ""))
    return f"<h2>Measures on {report['clips']} held-out clips</h2><table>{head}{''.join(rows)}</table>"
