"""What a benchmark found, as a table for people and as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import torch

from apoavatar_core.evaluation.target import Target
from apoavatar_core.files import write_whole

MET, MISSED, NOT_MEASURED, NO_TARGET = "met", "MISSED", "not measured", ""


@dataclass(frozen=True)
class Finding:
    """One number.

    key: its name in the JSON. group, title: its place and its name in the table. unit: of value, low and high.
    value: where every round gave one, their median; None where it could not be measured, and then `missing` says why.
    low, high: the least and the most of a round; None for what is not of single rounds.
    """

    key: str
    group: str
    title: str
    value: float | None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    target: Target | None = None
    missing: str = ""

    @property
    def verdict(self) -> str:
        if self.value is None:
            return NOT_MEASURED
        if self.target is None:
            return NO_TARGET
        return MET if self.target.is_met(self.value) else MISSED


def of_rounds(
    key: str, group: str, title: str, values: Sequence[float], unit: str = "", target: Target | None = None
) -> Finding:
    """Median and extremes of a number that every round gave."""
    return Finding(key, group, title, statistics.median(values), unit, min(values), max(values), target)


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Round by round, so that what slows a whole round down cancels out."""
    return [numerator / denominator for numerator, denominator in zip(numerators, denominators)]


def machine(device: torch.device) -> dict[str, object]:
    """What the numbers depend on."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def processor() -> str:
    """The CPU's name; Linux tells it in a file, other systems to Python."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def heading(where: dict[str, object]) -> str:
    """The machine in one line."""
    busy = "" if where["load"] is None else f", load {where['load']:.1f} before the start"
    return f"{where['device']}, PyTorch {where['torch']}, {where['threads']} threads on {where['cores']} cores{busy}"


def table(findings: Sequence[Finding]) -> str:
    """One line a finding under its group: title, median, extremes, target, and the verdict or why there is none."""
    rows = [("", "median", "lowest … highest", "target", "")]
    for group, members in groupby(findings, key=lambda found: found.group):
        rows.append((group, "", "", "", ""))
        rows += [
            (f"  {found.title}", shown(found), spread(found), str(found.target or ""), found.missing or found.verdict)
            for found in members
        ]
    widths = [max(len(row[column]) for row in rows if any(row[1:])) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), row[1].rjust(widths[1]), *map(str.ljust, row[2:], widths[2:])]).rstrip()
        for row in rows
    )


def told(where: dict[str, object], about: str, findings: Sequence[Finding], path: Path | None, **settings: object) -> None:
    """Print what was found on a machine, `about` what it is of, and write it to a JSON file beside the settings it follows from."""
    print(heading(where))
    print(f"{about}\n")
    print(table(findings))
    if path:
        content = {"machine": where, **settings, "findings": as_json(findings)}
        write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        print(f"wrote {path}")


def shown(found: Finding) -> str:
    return "-" if found.value is None else f"{number(found.value)} {found.unit}".rstrip()


def spread(found: Finding) -> str:
    return "" if found.low is None or found.high is None else f"{number(found.low)} … {number(found.high)}"


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def as_json(findings: Sequence[Finding]) -> dict[str, dict]:
    """Findings by their keys."""
    return {found.key: asdict(found) | {"verdict": found.verdict} for found in findings}
