"""Batches that are ready when a GPU wants them: made ahead, in order, by processes of their own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

Made = TypeVar("Made")
MOST_WORKERS = 8


class _Numbered(Dataset):
    def __init__(self, make: Callable[[int], Made]):
        self.make = make

    def __getitem__(self, number: int) -> Made:
        return self.make(number)


def workers_for(device: torch.device) -> int:
    """How many processes make batches for this device: none beside a CPU, which would lend them its own cores, and none
    where the system cannot fork.
    """
    if device.type == "cpu" or "fork" not in multiprocessing.get_all_start_methods():
        return 0
    return min(MOST_WORKERS, max(1, (os.cpu_count() or 1) - 1))


def made_ahead(make: Callable[[int], Made], numbers: Sequence[int], workers: int) -> Iterator[Made]:
    """`make(number)` of every number, in order.

    With `workers`, processes of their own make those that come next; 0 makes each when it is asked for. `make` must follow
    from its number alone, so that the count of workers changes nothing.
    """
    if not workers:
        return map(make, numbers)
    loader: Iterable[Made] = DataLoader(
        _Numbered(make),
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=4,
        multiprocessing_context="fork",
    )
    return iter(loader)
