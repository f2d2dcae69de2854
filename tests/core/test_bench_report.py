"""What a benchmark tells: on the page of a terminal, and in a file."""

from __future__ import annotations

import json
from pathlib import Path

from apoavatar_core.evaluation.target import Target
from benchmarks.report import Finding, told

WHERE = {"device": "a processor", "torch": "2", "threads": 1, "cores": 2, "load": None}
FINDINGS = [
    Finding("ratio", "films", "long / short", 1.07, target=Target("≤", 1.1)),
    Finding("pace", "films", "of a window", None, missing="no time"),
]


def test_findings_are_told_and_written_beside_what_they_follow_from(tmp_path: Path, capsys) -> None:
    told(WHERE, "two films", FINDINGS, tmp_path / "found.json", seconds=[20, 120])
    said = capsys.readouterr().out
    assert "a processor" in said and "two films" in said and "1.07" in said and "no time" in said and "found.json" in said
    written = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert written["machine"] == WHERE and written["seconds"] == [20, 120]
    assert written["findings"]["ratio"]["value"] == 1.07 and written["findings"]["ratio"]["verdict"] == "met"


def test_without_a_file_nothing_is_written(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    told(WHERE, "two films", FINDINGS, None)
    assert "met" in capsys.readouterr().out and not list(tmp_path.iterdir())
