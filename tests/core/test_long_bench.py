"""`dev.py bench long`: what is read from the costs of two films. How fast a machine is, no test says."""

from __future__ import annotations

import pytest
import torch

from benchmarks import long
from benchmarks.long_film import watched, window_seconds


def test_a_windows_time_runs_from_its_first_call_to_the_next_windows() -> None:
    assert window_seconds([1.0, 2.0, 5.0, 5.5, 9.0, 9.5], 3, ended=12.0) == [4.0, 4.0, 3.0]
    with pytest.raises(ValueError, match="not sampled alike"):
        window_seconds([1.0, 2.0, 3.0], 2, ended=4.0)


def test_every_call_of_what_is_watched_is_timed_and_no_longer_afterwards() -> None:
    model, part, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    with watched(model, [part]) as inside:
        for module in (model, part, other, model):
            module(torch.zeros(1, 2))
    model(torch.zeros(1, 2))
    assert len(inside.calls) == 2 and inside.calls == sorted(inside.calls)
    assert 0 < inside.seconds < 10


def test_ratios_are_of_full_windows_that_go_on() -> None:
    short = {"peak_ram": 100 * long.MEBIBYTE}
    costs = {
        "peak_ram": 120 * long.MEBIBYTE,
        "seconds": 50.0,
        "inside": 40.0,
        "windows": [99.0, *[2.0] * 5, *[7.0] * 3, *[3.0] * 5, 0.1],
        "frames": [49] * 14 + [9],
    }
    findings = {finding.key: finding for finding in long.found(short, costs)}
    assert findings["ram_ratio"].value == pytest.approx(1.2) and findings["ram_ratio"].verdict == "MISSED"
    assert findings["window_ratio"].value == pytest.approx(1.5)
    assert findings["share_outside"].value == pytest.approx(0.2)
    assert findings["ram_long"].value == 120
