"""Shares of work: together everything, nothing twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apoavatar_core.shares import share_of


@given(items=st.lists(st.integers(), unique=True), processes=st.integers(1, 9))
def test_shares_are_the_whole_and_nothing_twice(items, processes) -> None:
    shares = [share_of(items, (process, processes)) for process in range(processes)]
    together = [item for share in shares for item in share]
    assert sorted(together) == sorted(items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("share", [(2, 2), (-1, 2), (0, 0)])
def test_a_process_that_is_not_there_is_refused(share) -> None:
    with pytest.raises(ValueError, match="--share is"):
        share_of([1, 2, 3], share)
