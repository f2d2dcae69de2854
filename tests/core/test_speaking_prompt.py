"""The speaking prompt joins a caption that is already encoded."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from apoavatar_core.speaking_prompt import SPEAKING_PROMPT, append_tokens


def padded(tokens: int, length: int, first_value: float = 1.0) -> Tensor:
    """[1, length, 2]: `tokens` distinct tokens, then zeros."""
    context = torch.zeros(1, length, 2)
    context[0, :tokens, 0] = first_value + torch.arange(tokens)
    return context


def values(context: Tensor) -> list[float]:
    """The first number of every token of the only prompt."""
    return context[0, :, 0].tolist()


def test_the_prompt_says_speaking_camera_and_synchronised() -> None:
    assert all(word in SPEAKING_PROMPT for word in ("speaking", "camera", "body movements", "synchronized", "speech"))


def test_addition_is_written_into_the_padding() -> None:
    joined = append_tokens(padded(2, 6), padded(3, 5, first_value=10))
    assert values(joined) == [1, 2, 10, 11, 12, 0]


def test_padding_that_fits_exactly_is_used_up() -> None:
    assert values(append_tokens(padded(2, 5), padded(3, 5, first_value=10))) == [1, 2, 10, 11, 12]


def test_context_grows_where_the_padding_is_too_short() -> None:
    assert values(append_tokens(padded(3, 4), padded(3, 3, first_value=10))) == [1, 2, 3, 10, 11, 12]


def test_empty_prompt_becomes_the_addition() -> None:
    assert values(append_tokens(padded(0, 4), padded(2, 4, first_value=10))) == [10, 11, 0, 0]


def test_empty_addition_changes_nothing() -> None:
    context = padded(2, 4)
    assert torch.equal(append_tokens(context, padded(0, 4)), context)


def test_padding_inside_the_prompt_is_kept() -> None:
    context = padded(3, 6)
    context[0, 1] = 0
    assert values(append_tokens(context, padded(1, 1, first_value=10))) == [1, 0, 3, 10, 0, 0]


def test_every_prompt_of_a_batch_gets_the_addition_behind_the_longest() -> None:
    context = torch.cat([padded(1, 5), padded(3, 5)])
    joined = append_tokens(context, padded(2, 4, first_value=10))
    assert joined[:, :, 0].tolist() == [[1, 0, 0, 10, 11], [1, 2, 3, 10, 11]]


def test_inputs_stay_as_they_are_and_the_type_is_the_contexts() -> None:
    context, addition = padded(1, 3).double(), padded(1, 2, first_value=10)
    copy = context.clone()
    joined = append_tokens(context, addition)
    assert joined.dtype == torch.float64
    assert torch.equal(context, copy)


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_no_token_is_lost(used: int, free: int, added: int, added_padding: int) -> None:
    if added + added_padding == 0 or used + free == 0:
        return
    joined = append_tokens(padded(used, used + free), padded(added, added + added_padding, first_value=100))
    assert joined.shape[1] == max(used + free, used + added)
    assert [value for value in values(joined) if value] == [*range(1, used + 1), *range(100, 100 + added)]
