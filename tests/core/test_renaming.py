"""Tables of renamed tensors: what a rule takes, cuts and refuses."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch

from apoavatar_core.checkpoints import multitalk, unianimate
from apoavatar_core.checkpoints.renaming import Renames

TABLE = Renames.of({"in.{kind}": "first.{kind}", "blocks.{block}.kv.{kind}": ("k.{block}.{kind}", "v.{block}.{kind}")})


def test_a_tensor_is_taken_under_its_new_name() -> None:
    weight = torch.randn(2, 3)
    assert TABLE.applied({"in.weight": weight}) == {"first.weight": weight}


def test_a_matrix_of_two_is_cut_along_its_first_dimension() -> None:
    keys, values = torch.randn(2, 3), torch.randn(2, 3)
    found = TABLE.applied({"blocks.7.kv.weight": torch.cat([keys, values])})
    assert list(found) == ["k.7.weight", "v.7.weight"]
    assert torch.equal(found["k.7.weight"], keys) and torch.equal(found["v.7.weight"], values)
    storages = {tensor.untyped_storage().data_ptr() for tensor in found.values()}
    assert len(storages) == 2, "a file cannot hold tensors that share their memory"


@pytest.mark.parametrize("name", ["out.weight", "in.weight.more", "a.in.weight", "blocks.1.2.kv.weight", "inXweight"])
def test_a_tensor_that_no_rule_knows_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is too much$"):
        TABLE.applied({name: torch.zeros(2)})


@pytest.mark.parametrize("shape", [(), (3, 2)], ids=["a number", "an odd number of rows"])
def test_what_cannot_be_cut_is_refused_by_its_name(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="^blocks.0.kv.weight cannot be cut into 2 equal parts$"):
        TABLE.applied({"blocks.0.kv.weight": torch.zeros(shape)})


def test_a_table_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        TABLE.rules = ()
    with pytest.raises(FrozenInstanceError):
        TABLE.rules[0].ours = ()


@pytest.mark.parametrize("table", [multitalk.NAMES, unianimate.NAMES], ids=["MultiTalk", "UniAnimate"])
def test_no_two_tensors_get_one_name(table: Renames) -> None:
    ours = [name for rule in table.rules for name in rule.ours]
    assert len(ours) == len(set(ours)) > 9
