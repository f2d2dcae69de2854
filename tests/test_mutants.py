"""The mutation script: what it breaks and what it leaves alone."""

from __future__ import annotations

import pytest

from devtools.mutants import PARTS, drawn, mutants_of

SOURCE = '''"""Words stay."""
LIMIT = 5


def clipped(x: int = 3, low: int = 0) -> int:
    """Words stay, 7 of them."""
    if x < low:
        raise ValueError(f"{x} is below {low + 1}")
    print(f"{x} is fine")
    total = min(x, LIMIT, key=abs)
    return total * 2


class Kept:
    def define_schema(self):
        return 9
'''


def afters() -> set[str]:
    return {mutant.after for mutant in mutants_of("a.py", SOURCE)}


def test_what_computes_is_broken_once_a_mutant() -> None:
    assert afters() == {"if (x >= low):", "total = min(x, LIMIT)", "return (total / 2)", "return total * 3"}


def test_a_mutant_differs_from_its_file_in_its_line_alone() -> None:
    for mutant in mutants_of("a.py", SOURCE):
        changed = [
            number
            for number, (old, new) in enumerate(zip(SOURCE.splitlines(), mutant.content.splitlines(), strict=True), 1)
            if old != new
        ]
        assert changed == [mutant.line]
        compile(mutant.content, "a.py", "exec")


def test_the_draw_is_seeded_and_takes_other_lines_first() -> None:
    first, again, other = (drawn("a.py", SOURCE, 3, seed) for seed in (1, 1, 2))
    assert first == again and len({mutant.line for mutant in first}) == 3
    assert drawn("a.py", SOURCE, 99, 0) != [] and {m.line for m in other} == {m.line for m in first}


@pytest.mark.parametrize("part", PARTS)
def test_parts_and_their_tests_are_there(part: str) -> None:
    from pathlib import Path

    root = Path(__file__).resolve().parents[1]
    assert (root / part).is_file() and all((root / test).is_file() for test in PARTS[part])
