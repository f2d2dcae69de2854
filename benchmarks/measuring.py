"""Seconds, bytes and operations of a call, on the CPU or a CUDA GPU, and what is read from them."""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

Call = Callable[[], object]
Contestant = TypeVar("Contestant", bound=Hashable)


def seconds(call: Call, device: torch.device) -> float:
    """Wall-clock seconds from an idle device to an idle device."""
    wait_for(device)
    started = time.perf_counter()
    call()
    wait_for(device)
    return time.perf_counter() - started


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_rounds(contestants: Mapping[Contestant, Callable[[], float]], rounds: int) -> dict[Contestant, list[float]]:
    """What each contestant measures of itself, once a round: all of them take turns (A B C A B C …), so that a machine
    that is busy for a while is so for all of them.
    """
    found: dict[Contestant, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, measure in contestants.items():
            found[name].append(measure())
    return found


def peak_bytes(call: Call, device: torch.device) -> int:
    """The most memory that PyTorch holds at once during a call, beyond what it held before."""
    if device.type != "cuda":
        return peak_bytes_on_cpu(call)
    wait_for(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    wait_for(device)
    return torch.cuda.max_memory_allocated(device) - before


def peak_bytes_on_cpu(call: Call) -> int:
    """From PyTorch's own record of every allocation, so it is exact; memory that libraries below it take is not in it."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the profiler reports the missing GPU as an error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as recorded:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((event for event in events if event.get("name") == "[memory]"), key=lambda event: event["ts"])
    return int(np.cumsum([0, *(event["args"]["Bytes"] for event in changes)]).max())


def operations(call: Call) -> int:
    """Floating-point operations of the matrix products, convolutions and attention in a call: the same in every run."""
    unknown_to_pytorch = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_operations}
    with FlopCounterMode(display=False, custom_mapping=unknown_to_pytorch) as counted:
        call()
    return counted.get_total_flops()


def attention_operations(query_shape, key_shape, value_shape, *_, **__) -> int:
    return sdpa_flop_count(query_shape, key_shape, value_shape)


def peak_operations_per_second(side: int, dtype: torch.dtype, device: torch.device, repeats: int = 10) -> float:
    """The machine's best at a product of two square matrices, after a first one to warm up."""
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    taken = [seconds(lambda: left @ right, device) for _ in range(1 + repeats)]
    return 2 * side**3 / min(taken[1:])


def exponent(lengths: list[int], values: list[float]) -> float | None:
    """p of values ∝ lengths^p, the slope of the line that fits their logarithms best; None unless all are positive."""
    if min(values) <= 0:
        return None
    return float(np.polyfit(np.log(lengths), np.log(values), 1)[0])


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference as a part of the largest expected value; infinite where there are NaNs."""
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    return difference if math.isfinite(difference) else math.inf
