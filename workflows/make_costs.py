"""Measure what the workflows take that run as they are, and say it in their notes: `python workflows/make_costs.py [WORKFLOW.json …]`.

In the environment of `dev.py`, on a machine with nothing else to do. Each runs in a ComfyUI of its own, on one core without a graphics
card; its start does not count.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import psutil

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from benchmarks.report import processor  # noqa: E402
from devtools import environment, server, workflow  # noqa: E402

ASKS_FOR_FILES = "Wan"
"""In the names of workflows whose models are not here."""
SAID = re.compile(r"\*\*Time and memory\*\*: .*?It needs no graphics card\.")
"""In a workflow's file, where a note is one line."""


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]] or [path for path in sorted(FOLDER.glob("*.json")) if runs_here(path)]
    layout = environment.Layout(FOLDER.parent)
    environment.link_pack(layout)
    os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for path in paths:
        sentence = said(*costs(layout, path))
        print(f"{path.stem}: {sentence}", flush=True)
        tell(path, sentence)


def runs_here(path: Path) -> bool:
    """Whether it is a workflow of its own whose models are all here; the app is made of another."""
    return ASKS_FOR_FILES not in path.stem and not path.stem.endswith(".app")


def costs(layout: environment.Layout, path: Path) -> tuple[float, int]:
    """Seconds of the processor for a run, and the most bytes of memory that ComfyUI held."""
    with server.running_server(layout) as running:
        prompt = workflow.to_prompt(workflow.load(path), running.object_info())
        process = psutil.Process(running.process.pid)
        before = process.cpu_times()
        running.queue(prompt)
        after = process.cpu_times()
        return after.user + after.system - before.user - before.system, peak_bytes(process)


def peak_bytes(process: psutil.Process) -> int:
    """The most memory that a running process has held, as Linux keeps it."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024


def said(seconds: float, peak: int) -> str:
    maker = re.sub(r"\s+\d.*", "", processor())  # an AMD EPYC 9V74 80-Core Processor is an AMD EPYC
    return (
        f"**Time and memory**: {float(f'{seconds:.2g}'):g} seconds of one core ({maker}) and {peak / 1e9:.1f} GB of RAM for all of "
        "ComfyUI, measured with the example. It needs no graphics card."
    )


def tell(path: Path, sentence: str) -> None:
    """Write the sentence into the workflow's note, in the place of the one before.

    Raises:
        ValueError: it has none.
    """
    text, found = SAID.subn(lambda _: sentence, path.read_text(encoding="utf-8"))
    if found != 1:
        raise ValueError(f"{path.name} says {found} times what time and memory it takes: it wants one note with such a sentence.")
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
