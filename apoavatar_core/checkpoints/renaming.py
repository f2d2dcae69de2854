"""Other people's names of tensors and ours: one immutable table for each model.

The idea is that of LTX-2's `loader/sd_ops.py`. A new warm start is a new table; code is left for what is no rename.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from torch import Tensor


@dataclass(frozen=True)
class Rename:
    """Tensors that are called like `theirs` get the names `ours`.

    theirs: a name in which `{word}` stands for one part between two dots.
    ours: names in which `{word}` is what stood there. One name: the tensor is taken as it is. Several: it is cut along its
        first dimension into as many equal parts, in this order.
    """

    theirs: str
    ours: tuple[str, ...]

    def names_for(self, name: str) -> tuple[str, ...] | None:
        """Our names for a tensor of theirs, or None where this rule is about others."""
        match = _pattern(self.theirs).fullmatch(name)
        return match and tuple(own.format(**match.groupdict()) for own in self.ours)


@dataclass(frozen=True)
class Renames:
    """Every tensor of a model: what no rule knows is too much."""

    rules: tuple[Rename, ...]

    @classmethod
    def of(cls, table: Mapping[str, str | tuple[str, ...]]) -> Renames:
        """Their names and ours, a line each."""
        return cls(tuple(Rename(theirs, (ours,) if isinstance(ours, str) else ours) for theirs, ours in table.items()))

    def names_for(self, name: str) -> tuple[str, ...]:
        """Our names for a tensor of theirs.

        Raises:
            ValueError: no rule knows it.
        """
        for rule in self.rules:
            names = rule.names_for(name)
            if names is not None:
                return names
        raise ValueError(f"{name} is too much")

    def applied(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Their tensors under our names; parts of one are copies, so that each can be written to a file.

        Raises:
            ValueError: a tensor that no rule knows, or that cannot be cut into equal parts.
        """
        result = {}
        for name, tensor in tensors.items():
            names = self.names_for(name)
            result |= {names[0]: tensor} if len(names) == 1 else dict(zip(names, _parts(name, tensor, len(names))))
        return result


@cache
def _pattern(theirs: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^.]+)", re.escape(theirs)))


def _parts(name: str, tensor: Tensor, count: int) -> list[Tensor]:
    if tensor.ndim == 0 or len(tensor) % count:
        raise ValueError(f"{name} cannot be cut into {count} equal parts")
    return [part.clone() for part in tensor.chunk(count)]
