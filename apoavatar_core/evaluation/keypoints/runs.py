"""All trainings of the comparison, each one's measures in a file of its own, so that a stopped run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from multiprocessing import get_context
from pathlib import Path

import torch

from ...files import write_whole
from ...training.draws import Purpose, random_numbers
from ..variants import ALL, REFOCUSING, TABLE_4, Variant
from .latents import latents_of
from .measuring import drawn_measures, measure
from .modes import BORROWED, FREE, HARD, MODES, REFOCUSED, Exam, hands_loss, make, make_exam
from .network import KeypointDiT
from .questions import seeds_wanted
from .training import Budget, School, train
from .voices import Voices, kept_voices
from .world import MAIN, WORLDS, World, explained_share, hand_speed, perform_all

CORE = Path(__file__).resolve().parents[2]
MADE_OF = (
    "adapters", "gestures", "conditioning/voice.py", "evaluation/measures.py", "evaluation/keypoints/latents.py",
    "evaluation/keypoints/measuring.py", "evaluation/keypoints/modes.py", "evaluation/keypoints/network.py",
    "evaluation/keypoints/training.py", "evaluation/keypoints/voices.py",
    "evaluation/keypoints/world.py", "flow_matching.py", "grid.py", "hearing.py", "log_mel.py", "loudness.py", "refocusing.py",
    "evaluation/variants.py", "synthetic/motion.py", "synthetic/speech.py", "training/draws.py", "training/pose_schemes.py",
    "training/states.py",
)  # fmt: skip
"""The code that a result follows from; where it changes, all is made anew."""
PILOT = 5
"""Seeds that are trained at once; the first so many tell the power calculation how many it takes, and count with the others."""
TRACKS_OF = 0
"""The seed whose first clip is kept as tracks for a picture."""


@dataclass(frozen=True)
class Job:
    """What is trained at once: a variant in a world, from some seeds."""

    world: World
    variant: Variant
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Keypoints:
    """What is compared: where results go, how much a training gets, the voices, and held-out clips that measure it."""

    folder: Path
    budget: Budget = field(default_factory=Budget)
    voices: int = 40
    held_out_voices: int = 16
    seconds: float = 8.0
    clips: int = 48

    @cached_property
    def made_by(self) -> str:
        """A hash of what all results follow from: these settings and the code, as it is when this is first asked."""
        settings = {name: value for name, value in asdict(self).items() if name != "folder"}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for part in MADE_OF:
            path = CORE / part
            for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
                digest.update(file.read_bytes())
        return digest.hexdigest()[:16]

    @property
    def kept(self) -> Path:
        """The folder of the results that this code and these settings make."""
        return self.folder / self.made_by

    def path_of(self, world: World, variant: Variant, seed: int) -> Path:
        return self.kept / f"{world.name}_{variant.key}_{seed}.json"

    def missing(self, job: Job) -> tuple[int, ...]:
        """The seeds of a job whose results are not there."""
        return tuple(seed for seed in job.seeds if not self.path_of(job.world, job.variant, seed).exists())

    def training_voices(self) -> Voices:
        return kept_voices(self.kept / "voices.npz", self.voices, self.seconds, held_out=False)

    def exam_voices(self) -> Voices:
        return kept_voices(self.kept / "held_out_voices.npz", self.held_out_voices, self.seconds, held_out=True)

    def jobs(self, seeds: int) -> list[Job]:
        """All variants in the main world, then Table 4's in the others: all of some seeds before the next."""
        return [
            Job(world, variant, tuple(range(first, min(first + PILOT, seeds))))
            for first in range(0, seeds, PILOT)
            for world in sorted(WORLDS, key=lambda world: world is not MAIN)
            for variant in variants_in(world)
        ]

    def results(self, world: World, seeds: int) -> dict[str, list[dict[str, float]]]:
        """The measures of each variant that this world has, of the first seeds; "drawn" has those of the drawn clips."""

        def read(variant: Variant, part: str) -> list[dict[str, float]]:
            return [self.read(world, variant, seed)[part] for seed in range(seeds)]

        return {variant.key: read(variant, "measures") for variant in variants_in(world)} | {"drawn": read(REFOCUSING, "drawn")}

    def read(self, world: World, variant: Variant, seed: int) -> dict:
        return json.loads(self.path_of(world, variant, seed).read_text(encoding="utf-8"))

    def explained(self) -> dict[str, float]:
        """What share of the hands' speed the voice explains in each world, from the held-out voices; kept."""
        path = self.kept / "explained.json"
        if not path.exists():
            write_whole(path, json.dumps({world.name: explained_share(self.exam_voices(), world) for world in WORLDS}))
        return json.loads(path.read_text(encoding="utf-8"))


def variants_in(world: World) -> tuple[Variant, ...]:
    return ALL if world is MAIN else TABLE_4


@lru_cache(maxsize=PILOT)
def lesson(keypoints: Keypoints, world: World, seed: int) -> tuple[School, Exam]:
    """What the variants of a seed learn from and are measured with in a world."""
    voices, exam_voices = keypoints.training_voices(), keypoints.exam_voices()
    rng = random_numbers(seed, Purpose.ORDER, WORLDS.index(world) + 2**33)
    performances = perform_all(voices, world, rng.integers(len(voices), size=keypoints.budget.performances), rng)
    exam = make_exam(exam_voices, world, keypoints.clips, keypoints.budget.frames, seed)
    return School(voices, performances, latents_of(performances)), exam


def run_job(keypoints: Keypoints, job: Job) -> str:
    """Train and measure what is missing of a job; returns what it was."""
    seeds = keypoints.missing(job)
    lessons = [lesson(keypoints, job.world, seed) for seed in seeds]
    started = time.process_time()
    networks = train([school for school, _ in lessons], job.variant, keypoints.budget, seeds)
    seconds = (time.process_time() - started) / len(seeds)
    for seed, network, (school, exam) in zip(seeds, networks, lessons):
        result = examined(network, school, exam, seed) | {"training_seconds": seconds}
        write_whole(keypoints.path_of(job.world, job.variant, seed), json.dumps(result))
    return f"{job.world.name}, {job.variant.key}, seeds {', '.join(map(str, seeds))}"


def examined(network: KeypointDiT, school: School, exam: Exam, seed: int) -> dict:
    """The result of one trained network."""
    started = time.process_time()
    made = {mode: make(network, school.latents, exam, mode, seed) for mode in MODES}
    losses = {f"{mode}_loss": hands_loss(network, school.latents, exam, mode, seed) for mode in (FREE, HARD, REFOCUSED)}
    losses["free_worth"] = hands_loss(network, school.latents, exam, FREE, seed, another_voice=True) - losses["free_loss"]
    result = {"measures": measure(made, exam) | losses, "drawn": drawn_measures(exam)}
    if seed == TRACKS_OF:
        result["tracks"] = tracks(made, exam)
    return result | {"measuring_seconds": time.process_time() - started}


def tracks(made: Mapping, exam: Exam) -> dict[str, list[float]]:
    """Loudness, keep weight and the hands' speed in some modes, of the first clip."""
    speeds = {mode: hand_speed(made[mode][0]).tolist() for mode in (FREE, HARD, BORROWED)}
    return speeds | {"loudness": exam.loudness[0].tolist(), "keep": (1 - exam.dropout[0]).tolist()}


def run_all(keypoints: Keypoints, seeds: int | None, processes: int, say: Callable[[str], None]) -> int:
    """Run what is missing of so many seeds; for None first a pilot of `PILOT`, whose power calculation tells how many.

    Returns:
        The number of seeds.
    """
    keypoints.training_voices(), keypoints.exam_voices()
    if seeds is None:
        run_seeds(keypoints, PILOT, processes, say)
        seeds = seeds_wanted(keypoints.results(MAIN, PILOT))
        say(f"the pilot of {PILOT} seeds asks for {seeds}")
    run_seeds(keypoints, seeds, processes, say)
    return seeds


def run_seeds(keypoints: Keypoints, seeds: int, processes: int, say: Callable[[str], None]) -> None:
    jobs = keypoints.jobs(seeds)
    missing = [job for job in jobs if keypoints.missing(job)]
    done = len(jobs) - len(missing)
    for name in finished(keypoints, missing, processes):
        done += 1
        say(f"{done}/{len(jobs)}: {name}")


def compute_alone() -> None:
    """Let a process compute as one of several: on one core, and without numbers that are slow for being near zero."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def finished(keypoints: Keypoints, jobs: list[Job], processes: int) -> Iterator[str]:
    """The names of the jobs' results, as they are done."""
    if processes == 1:
        yield from (run_job(keypoints, job) for job in jobs)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), compute_alone) as pool:
        yield from pool.map(run_job, [keypoints] * len(jobs), jobs)


