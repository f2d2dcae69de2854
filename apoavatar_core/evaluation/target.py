"""What a measured number should be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A bound: "≥", ">" or "≤" a number, or "|·| ≤" for a value that may have either sign. NaN meets none."""

    sign: str
    bound: float

    def is_met(self, value: float) -> bool:
        if self.sign == ">":
            return value > self.bound
        if self.sign == "≥":
            return value >= self.bound
        return (abs(value) if self.sign == "|·| ≤" else value) <= self.bound

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"
