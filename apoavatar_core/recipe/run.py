"""A whole run: stage after stage, with a page that is written again while they work."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .folder import Progress, RunFolder, alone_in
from .page import write_page
from .plan import settled
from .settings import RECIPE, Recipe, read_recipe
from .stages import STAGES, Stage

PAGE_EVERY = 120.0
"""Seconds between pages, and the most work that a power cut leaves uncounted."""


def run(root: Path, config: Path | None, only_page: bool) -> None:
    """Do what is left of the run in the folder `root`, which begins with the recipe `config`, the tiny preset's when None;
    or only write the page about it.

    Raises:
        ValueError: the recipe is wrong or not the one that the run began with, or another process works in the folder.
    """
    folder = RunFolder(root)
    if only_page:
        if not folder.recipe.exists():
            raise ValueError(f"--run: {root} holds no run: begin one without --page")
        write_page(recipe_of(folder, config), folder, Progress(root), None)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with alone_in(root):
        recipe, progress = recipe_of(folder, config), Progress(root)
        for stage in STAGES:
            if not (progress.is_done(stage.name) and stage.is_there(folder)):
                work(stage, recipe, folder, progress)
    print(f"done: {folder.presets} holds the files, {folder.page} says how they turned out", flush=True)


def recipe_of(folder: RunFolder, config: Path | None) -> Recipe:
    """The recipe that the run began with, or begins with now.

    Raises:
        ValueError: the file asks for another one.
    """
    kept = settled(folder.recipe, Recipe, lambda: read_recipe(config or RECIPE))
    if config and read_recipe(config) != kept:
        raise ValueError(f"--config: {folder.root} began with another recipe: leave the option out, or use another folder")
    return kept


def work(stage: Stage, recipe: Recipe, folder: RunFolder, progress: Progress) -> None:
    """Do one stage, or what is left of it."""
    print(f"== {stage.name}: {stage.title}", flush=True)
    with watched(stage, recipe, folder, progress):
        stage.work(recipe, folder)
    progress.add(stage.name, 0.0, done=True)
    write_page(recipe, folder, progress, None)


@contextmanager
def watched(stage: Stage, recipe: Recipe, folder: RunFolder, progress: Progress) -> Iterator[None]:
    """Count the stage's time and write the page every so often, from a thread beside the work."""
    over, since = threading.Event(), [time.monotonic()]

    def count() -> None:
        now = time.monotonic()
        progress.add(stage.name, now - since[0])
        since[0] = now

    def watch() -> None:
        while not over.wait(PAGE_EVERY):
            count()
            try:
                write_page(recipe, folder, progress, stage)
            except Exception as error:  # a page is no reason to lose a night
                print(f"the page could not be written: {error!r}", flush=True)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        count()
