"""Measure a model on held-out clips: `python -m apoavatar_core.evaluation presenter --json result.json`, `long`, `ablate` or `losses`;
`voice` says what is heard in recordings, `gestures` what gestures voices give.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from ..checkpoints import presets
from ..comfyui.host import REPOSITORY, folders_for_now, use_comfyui
from ..pose import load_keypoint_network
from ..synthetic import synthesize_clip
from . import presenter
from .long_films import LongFilmMaker
from .made_by import made_by
from .page_parts import KEYPOINTS, PARTS, PIXELS, PLAIN
from .presenter_films import SamplingSettings, TinyGenerator, files_in
from .verdicts import table

CONFIGS = REPOSITORY / "apoavatar_core" / "training" / "configs"
ABLATIONS = {PIXELS: CONFIGS / "ablation.yaml", PLAIN: CONFIGS / "ablation_plain.yaml"}
"""One run's configuration of each part in pixels."""
PIXEL_SEEDS = 3


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError
    return value


def arguments_of(command_line: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m apoavatar_core.evaluation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    shipped = commands.add_parser("presenter", help="measure the model that ships with the pack, in all modes")
    shipped.add_argument("--clips", type=positive, default=20, help="held-out clips (default: %(default)s)")
    shipped.add_argument("--steps", type=positive, help="denoising steps (default: the shipped workflow's)")
    shipped.add_argument(
        "--json", type=Path, metavar="FILE", help="write the measures here, after every clip; a run that was stopped goes on"
    )
    shipped.add_argument("--strips", type=Path, metavar="FOLDER", help="write a contact sheet of every clip here, hands enlarged")
    shipped.add_argument(
        "--presets", type=Path, metavar="FOLDER", help="of other files to measure, ordered and named as the pack's"
    )

    lasting = commands.add_parser("long", help="measure films of many windows of the shipped model, at their ends and seams")
    lasting.add_argument("--seconds", type=positive, nargs="+", default=[20, 60], help="of voice (default: 20 60)")
    lasting.add_argument("--clips", type=positive, default=2, help="films of each length (default: %(default)s)")
    lasting.add_argument("--steps", type=positive, help="denoising steps (default: the shipped workflow's)")
    lasting.add_argument("--json", type=Path, metavar="FILE", help="write the measures here, again after every film")
    lasting.add_argument("--strips", type=Path, metavar="FOLDER", help="write films and a picture strip of every seam here")

    variants = commands.add_parser("ablate", help="train and measure the variants of the paper's Tables 4 and 5")
    variants.add_argument("part", nargs="?", choices=PARTS, help="of the page (default: all, one after the other)")
    variants.add_argument("--runs", type=Path, default=Path("runs/ablation"), metavar="FOLDER", help="where the runs go")
    variants.add_argument("--seeds", type=positive, help="runs of every variant (default: what a pilot asks for; in pixels 3)")
    variants.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "evidence.md", metavar="FILE")
    variants.add_argument("--processes", type=positive, default=1, help="that train side by side in keypoints (default: 1)")
    variants.add_argument("--json", type=Path, metavar="FILE", help="write what was found in keypoints here")
    variants.add_argument("--clips", type=positive, default=6, help="held-out clips in pixels (default: %(default)s)")
    variants.add_argument("--share", type=int, nargs=2, default=(0, 1), metavar=("K", "N"), help="process K of N in pixels")

    voices = commands.add_parser("voice", help="what Eq. 2-4 make of recordings")
    voices.add_argument("voices", type=Path, nargs="+", metavar="VOICE")

    gestured = commands.add_parser("gestures", help="measure the gestures that are made from voices")
    gestured.add_argument("voices", type=Path, nargs="*", metavar="VOICE", help="sound files (default: spoken ones alone)")
    gestured.add_argument(
        "--spoken", type=int, metavar="N", help="voices of espeak-ng besides (default: 10 without a VOICE, else 0)"
    )
    gestured.add_argument("--film", type=Path, help="a film whose strokes are made; its pose is extracted")
    gestured.add_argument("--film-model", type=Path, default=presets.MEDIAPIPE, metavar="FILE", help="that extracts it")
    gestured.add_argument("--json", type=Path, metavar="FILE", help="write the measures here")
    worth = commands.add_parser("losses", help="what each condition is worth to a model: its loss with and without")
    worth.add_argument("data", type=Path, metavar="FOLDER", help="clips that `prepare` wrote, with the model's own text encoder")
    worth.add_argument("--dit", type=Path, default=presets.TINY_DIT, metavar="FILE", help="default: the tiny preset's")
    worth.add_argument("--adapter", type=Path, default=presets.TINY_ADAPTER, metavar="FILE", help="default: the tiny preset's")
    worth.add_argument("--draws", type=positive, default=4, help="of noise for each clip (default: %(default)s)")

    for command in (shipped, lasting, variants):
        command.add_argument(
            "--pose-model", type=Path, metavar="FILE", default=presets.TINY_POSE, help="the keypoint network that measures"
        )
    return parser.parse_args(command_line)


def main() -> None:
    arguments = arguments_of()
    torch.set_flush_denormal(True)
    try:
        commands = {
            "presenter": measure_presenter,
            "long": measure_long,
            "ablate": ablate,
            "losses": measure_losses,
            "voice": measure_voices,
            "gestures": measure_gestures,
        }
        commands[arguments.command](arguments)
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def measure_gestures(arguments: argparse.Namespace) -> None:
    from . import gestures

    style, film = None, {}
    if arguments.film:
        style, film["film_jerk_99"] = gestures.watch_film(arguments.film, arguments.film_model)
        print(f"99th percentile of the film's jerk: {film['film_jerk_99']:.0f}")
    spoken = arguments.spoken if arguments.spoken is not None else 0 if arguments.voices else 10
    rows = []
    print(gestures.heading())
    for name, speech in gestures.read_voices(arguments.voices, spoken):
        rows.append({"voice": name} | gestures.measure(speech, style))
        print(gestures.line(rows[-1]), flush=True)
    print(gestures.summary(rows))
    if arguments.json:
        presenter.write_report(arguments.json, {"rows": rows} | film)


def measure_voices(arguments: argparse.Namespace) -> None:
    from .voice import measure_voice

    for file in arguments.voices:
        found = measure_voice(file)
        print(
            f"{file.name}: {'a voice' if found['speaks'] else 'nobody speaks'}; Eq. 2 lies {found['emphasis']:.0%} of the way from "
            f"mean to maximum ({found['emphasis_full_scale']:.0%} on full-scale amplitudes); gate open in {found['open']:.0%} of the "
            f"frames, mean {found['mean']:.2f}",
            flush=True,
        )


def ablate(arguments: argparse.Namespace) -> None:
    parts = [arguments.part] if arguments.part else PARTS
    if not arguments.part:  # what is missing is said before the hour that keypoints take
        for part in ABLATIONS:
            pixels_of(arguments, part)
    for part in parts:
        if part == KEYPOINTS:
            ablate_keypoints(arguments)
        else:
            ablate_pixels(arguments, part)


def ablate_keypoints(arguments: argparse.Namespace) -> None:
    from .keypoints.page import write_page
    from .keypoints.runs import Keypoints, run_all

    keypoints = Keypoints(arguments.runs / "keypoints")
    seeds = run_all(keypoints, arguments.seeds, arguments.processes, lambda text: print(text, flush=True))
    write_page(arguments.out, keypoints, seeds, arguments.json)
    print(f"wrote {arguments.out}")


def pixels_of(arguments: argparse.Namespace, part: str):
    """What is compared in a part of the page that is about pixels.

    Raises:
        ValueError: there is nothing to learn from, no backbone, or too little to measure with.
    """
    use_comfyui()
    from .pixels.runs import Pixels

    config, seeds = ABLATIONS[part], arguments.seeds or PIXEL_SEEDS
    pixels = Pixels(config, arguments.runs / part, seeds, arguments.clips, arguments.pose_model)
    pixels.prepared  # reads the headers of all clips
    backbone = pixels.training.backbone.file
    if backbone and not backbone.exists():
        raise ValueError(
            f"backbone: {config.name} names {backbone}, which is not there: train it as docs/evidence.md says, or ask for "
            "another part"
        )
    return pixels


def ablate_pixels(arguments: argparse.Namespace, part: str) -> None:
    pixels = pixels_of(arguments, part)
    from .pixels.page import write_page
    from .pixels.runs import run_all

    results = run_all(pixels, tuple(arguments.share), lambda text: print(text, flush=True))
    if results is None:
        print("done; when the other shares are too, the same command without --share writes the page")
        return
    write_page(arguments.out, part, pixels, results)
    print(f"wrote {arguments.out}")


def measure_losses(arguments: argparse.Namespace) -> None:
    use_comfyui()
    from ..data.prepared import PreparedClips
    from . import losses

    model, clips = losses.load_model(arguments.dit, arguments.adapter), PreparedClips(arguments.data)
    print(losses.table(losses.measure(model, clips, arguments.draws), losses.words_attended(model, clips)))


def measure_presenter(arguments: argparse.Namespace) -> None:
    settings, files = settings_of(arguments), files_in(arguments.presets or presets.PRESETS)
    made = made_by([*files.values(), arguments.pose_model], settings)
    evaluation = presenter.kept(arguments.json, made)
    left = range(len(evaluation.clips), arguments.clips)
    if left:
        generate = TinyGenerator(settings, presets=arguments.presets)
        network, in_a_row = load_keypoint_network(arguments.pose_model), LongFilmMaker(generate)
    if arguments.json and arguments.json.exists():
        has = f"has {len(evaluation.clips)} clips already" if evaluation.clips else "is of other files or code, and is made anew"
        print(f"{arguments.json} {has}", flush=True)
    for seed in left:
        started = time.monotonic()
        clip = synthesize_clip(seed, held_out=True)
        with folders_for_now():
            pictures, films = evaluation.add(clip, seed, generate, in_a_row, network)
        if arguments.strips:
            write_strip(arguments.strips / f"clip_{seed:02d}.png", presenter.strip(clip, pictures, films))
        if arguments.json:
            presenter.write_report(arguments.json, evaluation.report())
        found = evaluation.clips[-1]["generated"]
        print(
            f"clip {seed + 1}/{arguments.clips}: both hands seen {found['hands_hard']:.0%} hard, "
            f"{found['hands_pose_free']:.0%} pose-free; mouth r {found['mouth_r']:.2f}; hands r {found['hand_r']:.2f}; "
            f"pose error {found['pose_error']:.3f}; {time.monotonic() - started:.0f} s",
            flush=True,
        )
    print(table(evaluation.report()["measures"]))


def settings_of(arguments: argparse.Namespace) -> SamplingSettings:
    """The shipped workflow's, unless the number of steps is given."""
    return replace(SamplingSettings(), steps=arguments.steps) if arguments.steps else SamplingSettings()


def measure_long(arguments: argparse.Namespace) -> None:
    from . import long
    from .long_measures import seam_strips

    network, make = load_keypoint_network(arguments.pose_model), LongFilmMaker(TinyGenerator(settings_of(arguments)))
    evaluation = long.Evaluation([], [])
    for seconds in arguments.seconds:
        for seed in range(arguments.clips):
            started = time.monotonic()
            with folders_for_now():
                path, seams = evaluation.add(seed, seconds, make, network)
                if arguments.strips:
                    name = f"{seconds}s_{seed:02d}"
                    for seam, picture in seam_strips(long.read(path), seams):
                        write_strip(arguments.strips / f"{name}_seam_{seam:05d}.png", picture)
                    shutil.copyfile(path, arguments.strips / f"{name}.mp4")
            if arguments.json:
                presenter.write_report(arguments.json, evaluation.report())
            found = evaluation.films[-1]
            print(
                f"{seconds} s, seed {seed}: {found['frames']} frames, {found['seams']} seams; mouth r {found['mouth_r_first']:.2f} in the "
                f"first window, {found['mouth_r_last']:.2f} in the last; drift of the wall {found['drift_wall']:.1f}, of the clothes "
                f"{found['drift_clothes']:.1f}; seams {found['seam_ratio']:.2f}; {time.monotonic() - started:.0f} s",
                flush=True,
            )
    print(long.table(evaluation.report()))


def write_strip(path: Path, picture) -> None:
    """Save uint8 [H, W, 3] as PNG."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


if __name__ == "__main__":
    main()
