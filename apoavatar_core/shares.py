"""Work that several processes divide among themselves by counting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def share_of(items: Sequence[Item], share: tuple[int, int]) -> Sequence[Item]:
    """What process k of n does: the items number k, k + n, k + 2n, …

    Raises:
        ValueError: there is no such process.
    """
    process, processes = share
    if not 0 <= process < processes:
        raise ValueError(f"--share is {process} {processes}: the processes of {processes} are 0 to {processes - 1}")
    return items[process::processes]
