"""Hashes of inputs: the same for the same, others for others."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apoavatar_core.long_video import hashing
from apoavatar_core.long_video.hashing import stable_hash

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


def written(value) -> str:
    """A value so that no two are written alike."""
    if isinstance(value, float):
        return f"float {struct.pack('<d', value).hex()}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {written(value[key])}' for key in sorted(value))}}}"
    return repr(value)


@given(plain, plain)
def test_values_have_one_hash_when_they_are_one_value(first, second) -> None:
    assert (stable_hash(first) == stable_hash(second)) == (written(first) == written(second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["ab", "c"], ["a", "bc"]),
        ([[], 1], [[1]]),
        ({"a": 1}, ["a", 1]),
        ({"a": None}, {}),
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("1", 1),
        (b"a", "a"),
        (Fraction(1, 2), "1/2"),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (torch.zeros(2), np.zeros(2, np.float32)),
    ],
)
def test_what_looks_alike_is_told_apart(first, second) -> None:
    assert stable_hash(first) != stable_hash(second)


@given(st.integers(0, 2**31))
def test_any_changed_value_of_a_tensor_counts(seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensor = torch.randn(3, 4, 5, generator=generator)
    changed = tensor.clone()
    place = int(torch.randint(tensor.numel(), (), generator=generator))
    changed.view(-1)[place] = math.nextafter(changed.view(-1)[place], math.inf) + 1e-6
    assert stable_hash(tensor) == stable_hash(tensor.clone()) != stable_hash(changed)


def test_tensors_count_by_their_values_however_they_lie() -> None:
    tensor = torch.arange(24.0).reshape(4, 6)
    assert stable_hash(tensor.T) == stable_hash(tensor.T.contiguous())
    assert stable_hash(tensor[1:3, ::2]) == stable_hash(tensor[1:3, ::2].clone())
    assert stable_hash(tensor.requires_grad_()) == stable_hash(tensor.detach())
    for dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.bool, torch.int64):
        assert stable_hash(tensor.detach().to(dtype)) == stable_hash(tensor.detach().to(dtype).clone())
    assert stable_hash(torch.zeros(0, 3)) != stable_hash(torch.zeros(0, 4))
    assert stable_hash(torch.tensor(1.0)) != stable_hash(torch.ones(1))


def test_a_large_tensor_is_read_in_blocks(monkeypatch) -> None:
    values = {"tensor": torch.arange(1000.0), "array": np.arange(999)}
    whole = stable_hash(values)
    monkeypatch.setattr(hashing, "BLOCK", 64)
    assert stable_hash(values) == whole


@dataclass
class Voice:
    waveform: torch.Tensor
    rate: int


def test_dataclasses_count_by_their_fields() -> None:
    voice = Voice(torch.ones(2), 16000)
    assert stable_hash(voice) == stable_hash(Voice(torch.ones(2), 16000)) != stable_hash(Voice(torch.ones(2), 8000))


def test_the_hash_outlives_the_process() -> None:
    """It is in the names of folders, so it may only change on purpose."""
    value = {"seed": 3, "fps": 23.976, "voice": torch.arange(4, dtype=torch.int16), "names": ["a", None, True]}
    assert stable_hash(value) == "eccb6714deb3cce5f4b328059ea8c291b89f7e657f3021ef0ff234ca42e5a1ec"


def test_what_has_no_stable_hash_is_refused_with_its_place() -> None:
    with pytest.raises(ValueError, match=r"the value\.models\[1\] is a object"):
        stable_hash({"models": [1, object()]})
    with pytest.raises(ValueError, match="is a dict"):
        stable_hash({1: 2})
    with pytest.raises(ValueError, match="is a ndarray"):
        stable_hash(np.array([object()]))
