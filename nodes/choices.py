"""Choices that bring inputs of their own."""

from __future__ import annotations

from collections.abc import Sequence


def chosen(name: str, choice: dict | None, options: Sequence[str]) -> dict:
    """The choice of a DynamicCombo.

    Raises:
        ValueError: there is none: ComfyUI leaves the input out where a prompt names an option that does not exist.
    """
    if choice is None:
        raise ValueError(f"{name} is none of {', '.join(options)}: choose one of them.")
    return choice
