"""`dev.py bench gate`: what it measures is there and right. How fast a machine is, no test says."""

from __future__ import annotations

import pytest
import torch

from apoavatar_core.hearing import heard_voice
from benchmarks import gate


def test_every_number_is_there_and_its_sounds_are_what_they_are_called() -> None:
    threads = torch.get_num_threads()
    findings = {finding.key: finding for finding in gate.measure(minutes=0.1, rounds=1)}
    assert all(finding.value > 0 for finding in findings.values())
    assert findings["gate_ratio"].value == pytest.approx(findings["gate_seconds"].value / findings["resampling_seconds"].value)
    assert torch.get_num_threads() == threads
    assert heard_voice(gate.stereo(gate.spoken(0.1)), gate.RATE).speaks


def test_a_ratio_is_of_one_round() -> None:
    taken = {gate.GATE: [4.0, 9.0], gate.NOBODY: [8.0, 3.0], gate.RESAMPLING: [2.0, 3.0]}
    findings = {finding.key: finding for finding in gate.found(taken)}
    assert findings["gate_ratio"].low == 2 and findings["gate_ratio"].high == 3
    assert findings["gate_ratio_nobody"].high == 4 and findings["gate_seconds"].verdict == "MISSED"
