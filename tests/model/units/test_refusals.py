"""Reasons for refusals, shown: cutting one channel there leaks, or hits something else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.model.units.cases.language_models import LLAMA, TIED_WORDS
from tests.model.units.cases.mlps import LAYER_NORM, SOFTMAX
from tests.model.units.cases.shared_weights import FROZEN, WEIGHT_NORM
from tests.model.units.effects import draw_incoming, identical, outputs_of, zero
from tests.model.units.expected import Case, Entries, Expected, columns, joined, rows


def stream_channel(j: int) -> Expected:
    """Return all writers, norms and readers of channel ``j`` of the stream of ``LLAMA``."""
    norms: Entries = {f"norm{n}.weight": [j] for n in (1, 2, 3)}
    writers = joined(columns("embedding", j), rows("o", j, bias=False), rows("down", j, bias=False))
    readers = [columns(name, j) for name in ("q", "k", "v", "gate", "up", "head")]
    return Expected(kind="residual", incoming=joined(writers, norms), outgoing=joined(*readers))


@pytest.mark.parametrize(
    ("case", "unit"),
    [
        (
            LAYER_NORM,
            Expected(
                kind="neuron",
                incoming=joined(rows("0", 1), rows("1", 1)),
                outgoing=columns("3", 1),
            ),
        ),
        (SOFTMAX, Expected(kind="neuron", incoming=rows("0", 1), outgoing=columns("2", 1))),
        (LLAMA, stream_channel(1)),
    ],
    ids=["LayerNorm", "softmax", "RMSNorm of a stream"],
)
def test_a_channel_leaks_through_a_norm(case: Case, unit: Expected) -> None:
    model = case.build().eval()
    zero(model, unit.entries)
    without = outputs_of(model, case)
    draw_incoming(model, unit, seed=0)
    assert not identical(outputs_of(model, case), without)


def test_a_column_of_a_weight_normed_layer_changes_its_other_columns() -> None:
    model = WEIGHT_NORM.build()
    before = model[4].weight.detach().clone()
    zero(model, {"4.parametrizations.weight.original1": [(slice(None), 1)]})
    assert (model[4].weight[:, 1] == 0).all()
    assert (model[4].weight[:, [0, 2]] != before[:, [0, 2]]).all()


def test_a_column_of_a_tied_head_is_a_channel_of_the_embedding() -> None:
    model, case = TIED_WORDS.build(), TIED_WORDS
    before = embedded(model, case)
    zero(model, columns("embedding", 1))
    assert (embedded(model, case)[..., 1] == 0).all()
    assert (before[..., 1] != 0).all()


def test_a_frozen_layer_is_what_the_refused_units_would_zero() -> None:
    frozen = {name for name, p in FROZEN.build().named_parameters() if not p.requires_grad}
    assert frozen == {"2.weight", "2.bias"}


@torch.no_grad()
def embedded(model: nn.Module, case: Case) -> torch.Tensor:
    return model.embedding(*case.inputs())
