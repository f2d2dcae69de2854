"""`dev.py bench adapters` at its smallest size: what it measures is there and right. How fast a machine is, no test says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from apoavatar_core.checkpoints.multitalk import adapter_from_multitalk
from benchmarks import attention_forms, measuring
from benchmarks.attention_forms import BATCHED, DENSE, Attention
from benchmarks.report import Finding, Target, table
from benchmarks.sizes import SIZES

ROOT = Path(__file__).resolve().parents[2]
MEBIBYTE = 2**20
CPU = torch.device("cpu")
SIZE = SIZES["smallest"]


@pytest.fixture(scope="module")
def adapters(comfy) -> ModuleType:
    """The benchmark, which imports ComfyUI."""
    from benchmarks import adapters

    return adapters


@pytest.fixture(scope="module")
def found(adapters):
    return adapters.measure(SIZE, lambda text: None)


@pytest.fixture
def findings(found) -> dict:
    return {finding.key: finding for finding in found.findings}


def test_a_warm_start_predicts_what_native_infinitetalk_does(findings) -> None:
    assert findings["difference_at_start"].value < 1e-5
    # … and what is timed as ours has its branches on.
    assert findings["difference_acting"].value > 1e-2


def test_a_warm_start_that_hears_something_else_is_told(adapters) -> None:
    from benchmarks.contestants import with_adapter

    contestants = adapters.Contestants(SIZE)
    config, weights = adapter_from_multitalk(contestants.infinitetalk.model.state_dict())
    weights["injections.1.k.weight"] = weights["injections.1.k.weight"].roll(1, 0)
    contestants.warm_start = with_adapter(contestants.model, config, weights)
    at_start, _ = adapters.agreement(contestants)
    assert at_start.verdict == "MISSED"


def test_every_question_has_an_answer(adapters, found, findings) -> None:
    unanswered = {key for key, finding in findings.items() if finding.value is None}
    answers = {"seconds_apoavatar_per_native_infinitetalk", "peak_ratio", "operations_ratio"}
    assert answers <= findings.keys() - unanswered
    may_lack = {"growth_of_time", "growth_of_peak_memory", "attention_eq7_xformers", "attention_eq6_xformers"}
    assert unanswered <= may_lack and all(findings[key].missing for key in unanswered)
    assert all(finding.low <= finding.value <= finding.high for finding in findings.values() if finding.low is not None)
    contests = {(name, frames) for name in (adapters.PLAIN, adapters.OURS) for frames in SIZE.frames}
    assert found.calls.seconds.keys() == contests | {(adapters.NATIVE, SIZE.frames[-1])}
    assert all(len(taken) == SIZE.rounds and min(taken) > 0 for taken in found.calls.seconds.values())


def test_ours_does_more_than_native_infinitetalk_and_that_more_than_plain_wan(adapters, found) -> None:
    operations = found.calls.operations
    assert operations[adapters.PLAIN] < operations[adapters.NATIVE] < operations[adapters.OURS]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU's libraries take memory for small convolutions as they like")
def test_the_adapters_add_memory_that_grows_with_the_clip(findings) -> None:
    assert findings["peak_ratio"].value >= 1
    assert 0.5 < findings["growth_of_peak_memory"].value <= 1.1


@pytest.mark.skipif(torch.cuda.is_available(), reason="xformers may be there")
def test_what_cannot_be_measured_is_said(found, findings) -> None:
    finding = findings["attention_eq7_xformers"]
    assert finding.value is None and finding.verdict == "not measured"
    line = next(line for line in found.text().splitlines() if "xformers" in line)
    assert line.endswith("not available here: xformers needs CUDA")


def test_the_json_says_what_the_table_says_and_where(found) -> None:
    content = json.loads(found.json())
    assert content["machine"]["torch"] == torch.__version__ and content["size"]["width"] == found.size.width
    assert content["machine"]["device"] in found.text()
    assert set(content["findings"]) == {finding.key for finding in found.findings}
    ours = content["findings"]["seconds_apoavatar_per_native_infinitetalk"]
    assert ours["target"] == {"sign": "≤", "bound": 1.02} and ours["verdict"] in ("met", "MISSED")
    assert len(content["calls"]) == len(found.calls.seconds)


def test_a_target_can_be_missed() -> None:
    most, least = Target("≤", 1.05), Target("≥", 0.01)
    findings = [
        Finding("a", "group", "fast", 1.05, target=most),
        Finding("b", "group", "slow", 1.06, target=most),
        Finding("c", "group", "different", 0.02, target=least),
        Finding("d", "group", "same", 0.0, target=least),
        Finding("e", "group", "unknown", None, target=most, missing="no GPU"),
    ]
    assert [finding.verdict for finding in findings] == ["met", "MISSED", "met", "MISSED", "not measured"]
    assert [line.split()[-1] for line in table(findings).splitlines()[2:]] == ["met", "MISSED", "met", "MISSED", "GPU"]


def test_growth_is_the_exponent_of_what_is_added(adapters) -> None:
    def verdicts(power: float, added_bytes: int) -> list[str]:
        frames = (9, 21, 41)
        lengths = dict(zip(frames, (3, 6, 11)))
        seconds = {(adapters.PLAIN, count): [5.0, 6.0] for count in frames}
        seconds |= {(adapters.OURS, count): [5.0 + length**power, 6.0 + length**power] for count, length in lengths.items()}
        peaks = {(adapters.PLAIN, count): 10 for count in frames}
        peaks |= {(adapters.OURS, count): 10 + added_bytes * length for count, length in lengths.items()}
        return [finding.verdict for finding in adapters.growth(adapters.Calls(peaks, {}, {}, seconds, []), frames)]

    assert verdicts(1.0, 7) == ["met", "met"]
    assert verdicts(1.5, 7) == ["MISSED", "met"]
    assert verdicts(-0.5, 0) == ["not measured", "not measured"]


def test_contestants_take_turns() -> None:
    order: list[str] = []
    contestants = {name: lambda name=name: order.append(name) or len(order) for name in "abc"}
    assert measuring.in_rounds(contestants, 2) == {"a": [1, 4], "b": [2, 5], "c": [3, 6]}
    assert "".join(order) == "abcabc"


def test_peak_memory_counts_what_is_held_at_once() -> None:
    def mebibyte() -> torch.Tensor:
        return torch.empty(MEBIBYTE, dtype=torch.uint8)

    def one_after_the_other() -> None:
        for _ in range(3):
            mebibyte()

    assert measuring.peak_bytes(lambda: [mebibyte() for _ in range(3)], CPU) == 3 * MEBIBYTE
    assert measuring.peak_bytes(one_after_the_other, CPU) == MEBIBYTE
    assert measuring.peak_bytes(lambda: None, CPU) == 0


def test_operations_are_those_of_products_and_attention() -> None:
    matrix = torch.ones(8, 8)
    heads = torch.ones(1, 2, 16, 4)  # a product of 16 × 4 × 16 and one of 16 × 16 × 4 in each of two heads
    attention = torch.nn.functional.scaled_dot_product_attention
    with torch.inference_mode():
        assert measuring.operations(lambda: matrix @ matrix) == 2 * 8**3
        assert measuring.operations(lambda: attention(heads, heads, heads)) == 2 * 2 * (2 * 16 * 4 * 16)


def test_forms_of_attention_agree_only_under_the_right_mask() -> None:
    attention = Attention("eq7", "", frames=3, queries=5, keys=4, width=8, heads=2)
    calls = attention_forms.forms(attention, torch.float32, CPU)
    expected = calls[BATCHED]()
    assert measuring.relative_difference(calls[DENSE](), expected) < 1e-5
    inputs, mask = attention.inputs(torch.float32, CPU), attention_forms.block_diagonal_mask(attention, CPU)
    wrong = attention_forms.masked(*inputs, attention.heads, mask.roll(1, 1))
    assert measuring.relative_difference(wrong, expected) > 1e-2
    assert measuring.relative_difference(torch.full_like(expected, torch.nan), expected) == torch.inf


def test_sizes_fit_the_layers() -> None:
    for name, one in SIZES.items():
        assert one.width % 40 == 0 and one.width % one.heads == 0, name
        assert all(frames % 4 == 1 and frames <= 81 for frames in one.frames) and list(one.frames) == sorted(one.frames)
        assert all(side % 16 == 0 for side in one.picture)
    cpu = SIZES["cpu"]
    assert cpu.picture[0] * cpu.picture[1] // 256 * ((cpu.frames[-1] - 1) // 4 + 1) >= 4000
    with pytest.raises(AttributeError):
        SIZE.width = 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench"], "arguments are required: benchmark"),
        (["bench", "everything"], "invalid choice: 'everything'"),
        (["bench", "adapters", "--json", "tests"], "--json: tests is a folder"),
    ],
)
def test_wrong_arguments_are_refused_before_any_setup(arguments, message) -> None:
    command = [sys.executable, "-S", ROOT / "dev.py", *arguments]  # -S: without any installed package
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert result.returncode == 2 and message in result.stderr
