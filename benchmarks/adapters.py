"""What our adapters cost beside a plain Wan model and ComfyUI's own InfiniteTalk: `python dev.py bench adapters`.

Everything is measured in one run and told as ratios. The contestants take turns, and a ratio is one of a single round.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import comfy.model_management
import torch

from apoavatar_core.checkpoints.multitalk import HEADS, REFINING_HEADS
from apoavatar_core.files import write_whole
from apoavatar_core.grid import FRAMES_PER_LATENT, LATENTS_PER_TOKEN, PIXELS_PER_LATENT, latent_frames

from . import attention_forms, measuring
from .attention_forms import BATCHED, BLOCK_DIAGONAL, DENSE, Attention
from .contestants import NATIVE, OURS, PLAIN, WARM_START, Contestants, condition_bytes, during_sampling
from .report import Finding, Target, as_json, heading, machine, of_rounds, ratios, table
from .sizes import SIZES, Size

SECONDS_TARGET = Target("≤", 1.02)
MEMORY_TARGET = Target("≤", 1.1)
GROWTH_TARGET = Target("≤", 1.1)
SAME = {"float32": Target("≤", 1e-5), "bfloat16": Target("≤", 2e-2)}
"""Largest difference, as a part of the largest value, between two ways to compute the same thing."""
DIFFERENT = Target("≥", 1e-2)

SECONDS = "seconds of a call"

AUDIO_TOKENS = 8 * FRAMES_PER_LATENT
"""Of InfiniteTalk, per latent frame."""
MEBIBYTE = 2**20
EMBEDDING = ("embedding", 0)

Contest = tuple[str, int]
"""A contestant, and the video frames of its clip."""


@dataclass(frozen=True)
class Calls:
    """What was measured of calls of the model: bytes beside the weights, and those of the conditions that are held from call
    to call; operations; the seconds of each round, and of embedding the pose, which comes once before all of them.
    """

    peak_bytes: dict[Contest, int]
    held_bytes: dict[Contest, int]
    operations: dict[str, int]
    seconds: dict[Contest, list[float]]
    embedding_seconds: list[float]


@dataclass(frozen=True)
class Benchmark:
    """Everything that one run found."""

    size: Size
    machine: dict[str, object]
    findings: list[Finding]
    calls: Calls

    def text(self) -> str:
        size, frames = self.size, self.size.frames[-1]
        height, width = size.picture
        clip = f"{width}×{height}, {frames} frames, {tokens_per_frame(size) * latent_frames(frames):,} tokens"
        model = f"{size.layers} layers, {size.width} wide, {size.dtype}"
        return "\n".join(
            [heading(self.machine), f"{model}; {clip}; {size.rounds} rounds", f"({size.remark})", "", table(self.findings)]
        )

    def json(self) -> str:
        calls = [
            {"contestant": name, "frames": frames, "seconds": taken, "peak_bytes": self.calls.peak_bytes[name, frames]}
            for (name, frames), taken in self.calls.seconds.items()
        ]
        content = {
            "machine": self.machine,
            "size": asdict(self.size),
            "findings": as_json(self.findings),
            "operations_per_call": self.calls.operations,
            "calls": calls,
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def run(size_name: str | None, path: Path | None) -> None:
    """Measure, print, and write the JSON. Without a size, the true one where there is a GPU."""
    found = measure(SIZES[size_name or ("true" if torch.cuda.is_available() else "cpu")], partial(print, flush=True))
    print(found.text())
    if path:
        write_whole(path, found.json())
        print(f"wrote {path}")


def measure(size: Size, say: Callable[[str], object]) -> Benchmark:
    """The whole benchmark; `say` hears what is being done."""
    device = comfy.model_management.get_torch_device()
    where = machine(device)
    say("making random models ...")
    contestants = Contestants(size)
    say("comparing predictions ...")
    same = agreement(contestants)
    calls = measure_calls(contestants, device, say)
    say("measuring matrix products and forms of attention ...")
    peak = measuring.peak_operations_per_second(size.matrix, contestants.dtype, device)
    findings = [
        *same,
        *cost(calls, size.frames[-1], peak),
        *growth(calls, size.frames),
        *memory(calls, size.frames[-1], contestants.weight_bytes),
        *(finding for attention in attentions(size) for finding in compare_forms(attention, size, device)),
    ]
    return Benchmark(size, where, findings, calls)


def tokens_per_frame(size: Size) -> int:
    """N_v."""
    height, width = size.picture
    return height * width // (PIXELS_PER_LATENT * LATENTS_PER_TOKEN) ** 2


def agreement(contestants: Contestants) -> list[Finding]:
    """Whether the warm start predicts what InfiniteTalk does, and whether the adapter that is timed does something else."""
    frames = contestants.size.frames[-1]
    guiders, noise = contestants.guiders(frames), contestants.noise(frames)
    predicted = {
        name: during_sampling(guiders[name], noise, lambda call: call().float().cpu()) for name in (NATIVE, WARM_START, OURS)
    }
    difference = {name: measuring.relative_difference(predicted[name], predicted[NATIVE]) for name in (WARM_START, OURS)}
    group = f"largest difference from what {NATIVE} predicts, as a part of its largest value"
    same = SAME[contestants.size.dtype]
    return [
        Finding("difference_at_start", group, WARM_START, difference[WARM_START], target=same),
        Finding("difference_acting", group, f"{OURS} as timed, all branches on", difference[OURS], target=DIFFERENT),
    ]


def measure_calls(contestants: Contestants, device: torch.device, say: Callable[[str], object]) -> Calls:
    """Every contestant on the longest clip; on shorter ones ours and the plain model, whose difference is the adapters'."""
    *shorter, longest = contestants.size.frames
    measured = [(name, longest) for name in (PLAIN, NATIVE, OURS)]
    measured += [(name, frames) for frames in shorter for name in (PLAIN, OURS)]
    guiders = {frames: contestants.guiders(frames) for frames in contestants.size.frames}
    probes = {
        (name, frames): partial(during_sampling, guiders[frames][name], contestants.noise(frames))
        for name, frames in measured
    }
    say("measuring memory, counting operations ...")  # and warming up
    peak_bytes = {key: probe(lambda call: measuring.peak_bytes(call, device)) for key, probe in probes.items()}
    held_bytes = {key: probe(lambda _, key=key: condition_bytes(guiders[key[1]][key[0]])) for key, probe in probes.items()}
    operations = {name: probe(measuring.operations) for (name, frames), probe in probes.items() if frames == longest}
    say(f"timing {contestants.size.rounds} rounds ...")
    timed = {key: partial(probe, lambda call: measuring.seconds(call, device)) for key, probe in probes.items()}
    timed[EMBEDDING] = partial(measuring.seconds, contestants.embed_pose(longest), device)
    timed[EMBEDDING]()  # warming up
    seconds = measuring.in_rounds(timed, contestants.size.rounds)
    return Calls(peak_bytes, held_bytes, operations, seconds, seconds.pop(EMBEDDING))


def cost(calls: Calls, frames: int, peak: float) -> list[Finding]:
    """Seconds and operations of a call. peak: operations per second of this machine's matrix products."""
    taken = {name: calls.seconds[name, frames] for name in (PLAIN, NATIVE, OURS)}
    shares = [calls.operations[OURS] / seconds / peak for seconds in taken[OURS]]
    more_work = calls.operations[OURS] / calls.operations[NATIVE]
    group = "floating-point operations of a call"
    return [
        *(of_rounds(f"seconds_{key(name)}", SECONDS, name, values, "s") for name, values in taken.items()),
        time_ratio(NATIVE, PLAIN, taken),
        time_ratio(OURS, PLAIN, taken),
        time_ratio(OURS, NATIVE, taken, SECONDS_TARGET),
        of_rounds(
            "embedding_per_call", SECONDS, "embedding the pose, once before all calls / a call of " + OURS,
            ratios(calls.embedding_seconds, taken[OURS]),
        ),
        Finding("operations_ratio", group, f"{OURS} / {NATIVE}", more_work),
        of_rounds("share_of_peak", group, f"{OURS}, a second, / those of a large matrix product", shares),
    ]


def key(name: str) -> str:
    return name.lower().replace(" ", "_")


def time_ratio(name: str, other: str, taken: Mapping[str, list[float]], target: Target | None = None) -> Finding:
    values = ratios(taken[name], taken[other])
    return of_rounds(f"seconds_{key(name)}_per_{key(other)}", SECONDS, f"{name} / {other}", values, "", target)


def growth(calls: Calls, frames: Sequence[int]) -> list[Finding]:
    """Exponents p of what the adapters add ∝ T_lat^p, at the same picture."""
    lengths = [latent_frames(count) for count in frames]
    added_seconds = [
        statistics.median(ours - plain for ours, plain in zip(calls.seconds[OURS, count], calls.seconds[PLAIN, count]))
        for count in frames
    ]
    added_bytes = [calls.peak_bytes[OURS, count] - calls.peak_bytes[PLAIN, count] for count in frames]
    return [exponent_of("time", lengths, added_seconds), exponent_of("peak memory", lengths, added_bytes)]


def exponent_of(what: str, lengths: list[int], added: list[float]) -> Finding:
    name = f"growth_of_{key(what)}"
    group = f"growth with T_lat = {', '.join(map(str, lengths))}: p of what {OURS} adds to {PLAIN} ∝ T_latᵖ"
    exponent = measuring.exponent(lengths, added)
    if exponent is None or exponent < 0:  # what is added cannot shrink: the machine is too noisy for a difference so small
        missing = f"too small to see growth in it: {', '.join(f'{value:.3g}' for value in added)}"
        return Finding(name, group, what, None, target=GROWTH_TARGET, missing=missing)
    return Finding(name, group, what, exponent, target=GROWTH_TARGET)


def memory(calls: Calls, frames: int, weight_bytes: Mapping[str, int]) -> list[Finding]:
    """What a call holds at its peak; with the conditions that are held from call to call; with the weights of all layers."""
    peaks = {name: calls.peak_bytes[name, frames] for name in (PLAIN, NATIVE, OURS)}
    held = {name: peak + calls.held_bytes[name, frames] for name, peak in peaks.items()}
    totals = {name: size + weight_bytes[name] for name, size in held.items()}
    group, ratio = "peak memory of a call, beside the weights", f"{OURS} / {NATIVE}"
    return [
        *(Finding(f"peak_{key(name)}", group, name, peak / MEBIBYTE, "MiB") for name, peak in peaks.items()),
        Finding("peak_ratio", group, ratio, peaks[OURS] / peaks[NATIVE], target=MEMORY_TARGET),
        *(
            Finding(f"held_{key(name)}", group, f"{name}, with the conditions that stay from call to call", size / MEBIBYTE, "MiB")
            for name, size in held.items()
        ),
        Finding("held_ratio", group, f"{ratio}, with these conditions", held[OURS] / held[NATIVE]),
        Finding("peak_ratio_with_weights", group, f"{ratio}, weights included too", totals[OURS] / totals[NATIVE]),
    ]


def attentions(size: Size) -> list[Attention]:
    """Frame-wise attention in the measured model."""
    frames, tokens = latent_frames(size.frames[-1]), tokens_per_frame(size)
    return [
        Attention("eq7", "the video listens (Eq. 7)", frames, tokens, AUDIO_TOKENS, size.width, HEADS),
        Attention("eq6", "the audio looks (Eq. 6)", frames, AUDIO_TOKENS, tokens, size.audio_width, REFINING_HEADS),
    ]


def compare_forms(attention: Attention, size: Size, device: torch.device) -> list[Finding]:
    """How much longer the other forms of frame-wise attention take than ours, and whether all say the same."""
    with torch.inference_mode():
        calls = attention_forms.forms(attention, getattr(torch, size.dtype), device)
        results = {name: call().float() for name, call in calls.items()}  # and warming up
        timed = {name: partial(measuring.seconds, call, device) for name, call in calls.items()}
        taken = measuring.in_rounds(timed, size.attention_rounds)
    name, group = f"attention_{attention.key}", f"frame-wise attention, {attention.title}, seconds"
    difference = max(measuring.relative_difference(result, results[BATCHED]) for result in results.values())
    milliseconds = [1000 * seconds for seconds in taken[BATCHED]]
    return [
        of_rounds(f"{name}_batched", group, f"{BATCHED}, as the adapters make it", milliseconds, "ms"),
        form_ratio(f"{name}_dense", group, DENSE, taken, ""),
        form_ratio(f"{name}_xformers", group, BLOCK_DIAGONAL, taken, attention_forms.missing_xformers(device)),
        Finding(f"{name}_difference", group, "largest difference between them", difference, target=SAME[size.dtype]),
    ]


def form_ratio(name: str, group: str, form: str, taken: Mapping[str, list[float]], missing: str) -> Finding:
    """missing: why the form was not timed."""
    title = f"{form} / {BATCHED}"
    if missing:
        return Finding(name, group, title, None, missing=missing)
    return of_rounds(name, group, title, ratios(taken[form], taken[BATCHED]))
