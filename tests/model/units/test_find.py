"""The units that are found are those written by hand, entry by entry."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from torch import nn

from antifragile.model.units.find import find_units
from antifragile.model.units.records import Unit, UnitKind, UnitTable
from tests.model.units.all_cases import CASES
from tests.model.units.expected import Case, Entry, Expected, entry_set

READ_BY = {"decoder_bias": "encoder"}  # an output layer that reads another one's weight
Written = set[tuple[str, frozenset[Entry]]]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_the_units_are_those_written_by_hand(case: Case) -> None:
    model = case.build()
    table = find_units(model, case.inputs())
    hidden = [kind for kind in UnitKind if kind is not UnitKind.OUTPUT]
    assert found(model, table, hidden) == written(model, case.hidden())


@every_case
def test_the_output_units_are_those_written_by_hand(case: Case) -> None:
    model = case.build()
    table = find_units(model, case.inputs())
    outputs = {entries for _, entries in found(model, table, [UnitKind.OUTPUT])}
    assert outputs == {entries for _, entries in written(model, case.output())}


@every_case
def test_what_has_no_units_is_refused_by_name(case: Case) -> None:
    model = case.build()
    refused = {row.layer: row.reason for row in find_units(model, case.inputs()).refused}
    named = {READ_BY.get(name, name): word for name, word in case.refused.items()}
    expected = {name: word for name, word in named.items() if not is_parameter(model, name)}
    for layer, pattern in expected.items():
        assert re.search(pattern, refused.get(layer, "")), (layer, refused)
    assert set(refused) == set(expected)


def is_parameter(model: nn.Module, name: str) -> bool:
    """Say whether a name is that of a lone parameter, such as a position embedding."""
    return name in dict(model.named_parameters()) and not name.endswith("weight")


def found(model: nn.Module, table: UnitTable, kinds: Sequence[UnitKind]) -> Written:
    return {
        (group.kind.value, entries_of(model, unit))
        for group in table.of_kinds(*kinds)
        for unit in group.units
    }


def written(model: nn.Module, units: Sequence[Expected]) -> Written:
    return {(unit.kind, entry_set(model, unit.entries)) for unit in units}


def entries_of(model: nn.Module, unit: Unit) -> frozenset[Entry]:
    masks = unit.entries(dict(model.named_parameters()))
    return frozenset(
        (name, int(place))
        for name, mask in masks.items()
        for place in np.flatnonzero(mask.flatten().numpy())
    )
