"""`dev.py bench pose`: what it measures is there and right. How fast a machine is, no test says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import pose


def test_without_mediapipe_the_other_numbers_are_there(monkeypatch) -> None:
    monkeypatch.setattr(pose, "ROUNDS", 1)
    passes = pose.measure(pose.swaying_presenter()[:2], Path(sys.executable))
    findings = {finding.key: finding for finding in pose.found(passes, 2)}
    assert findings["frames_per_second"].value == pytest.approx(2 / passes.ours[0][0])
    assert 0.5 < findings["network_share"].value <= 1
    assert findings["speed_ratio"].value is None and "has no mediapipe" in findings["speed_ratio"].missing


def test_a_ratio_is_the_originals_time_over_ours() -> None:
    passes = pose.Passes(ours=[(2.0, 3.0), (4.0, 6.0)], network_shares=[0.9, 0.7], original=[(1.0, 2.0), (3.0, 6.0)])
    findings = {finding.key: finding for finding in pose.found(passes, 10)}
    assert findings["frames_per_second_original"].low == pytest.approx(10 / 3)
    assert findings["speed_ratio"].value == pytest.approx((1 / 2 + 3 / 4) / 2)
    assert findings["processor_ratio"].high == 1 and findings["speed_ratio"].verdict == "MISSED"
    assert findings["network_share"].verdict == "met"
