"""Proof of the hand-written units, by what the models compute; no finder of units is asked."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from tests.model.units.all_cases import CASES
from tests.model.units.effects import (
    draw_incoming,
    each_subscript,
    identical,
    influential,
    outputs_of,
    zero,
)
from tests.model.units.expected import Case, Entry, Expected, Index, entry_set, lively, mask_of

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def test_names_are_unique() -> None:
    assert [name for name, n in Counter(case.name for case in CASES).items() if n > 1] == []


@every_case
def test_a_model_is_built_the_same_each_time(case: Case) -> None:
    first, second = (case.build().state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@every_case
def test_what_comes_in_changes_no_output_once_the_unit_is_ablated(case: Case) -> None:
    for unit in case.hidden():
        model = case.build().eval()
        zero(model, unit.entries)
        without = outputs_of(model, case)
        for seed in (0, 1):
            draw_incoming(model, unit, seed=seed)
            assert identical(outputs_of(model, case), without), unit


@every_case
def test_no_outgoing_entries_can_be_left_out(case: Case) -> None:
    for unit in case.hidden():
        for name, index in each_subscript(unit.outgoing):
            differ = (changes_without(case, unit, name, index, seed=seed) for seed in range(10))
            assert any(differ), f"{name}[{index}] is not needed by {unit}"


def changes_without(case: Case, unit: Expected, name: str, index: Index, *, seed: int) -> bool:
    """Say whether incoming values change an output when ``name[index]`` stays as it was.

    The rest of the model is drawn anew from ``seed``: a ReLU may be off for all samples of a draw.
    """
    model = lively(case.build().eval(), seed)
    parameter = dict(model.named_parameters())[name].detach()
    kept = parameter[index].clone()
    zero(model, unit.entries)
    parameter[index] = kept
    without = outputs_of(model, case)
    draw_incoming(model, unit, seed=seed)
    return not identical(outputs_of(model, case), without)


@every_case
def test_zero_incoming_entries_alone_silence_the_unit(case: Case) -> None:
    for unit in case.hidden():
        silenced, ablated = case.build().eval(), case.build().eval()
        zero(silenced, unit.incoming)
        zero(ablated, unit.entries)
        same = identical(outputs_of(silenced, case), outputs_of(ablated, case))
        assert same == unit.silent, unit


@every_case
def test_exactly_the_incoming_entries_lose_their_influence(case: Case) -> None:
    """Gradients before and after the outgoing entries are zeroed, in double precision."""
    for unit in case.hidden():
        model = case.build().eval().double()
        only_in = entry_set(model, unit.incoming) - entry_set(model, unit.outgoing)
        explained = entry_set(model, unit.entries) | entry_set(model, unit.idle)
        acted: set[Entry] = set()
        act: set[Entry] = set()
        for seed in range(12):  # a ReLU may be off for all samples of a few draws
            lively(model, seed)
            acted |= influential(model, case, above=1e-10)
            zero(model, unit.outgoing)
            act |= influential(model, case, above=0.0)
            if seed >= 3 and only_in & acted and acted <= act | explained:
                break
        assert only_in & acted, unit
        assert not only_in & act, (only_in & act, unit)
        assert acted <= act | explained, (acted - act - explained, unit)


@every_case
def test_an_output_unit_is_zero_once_ablated_and_the_others_as_they_were(case: Case) -> None:
    before = outputs_of(case.build().eval(), case)
    changed = [torch.zeros_like(output, dtype=torch.int64) for output in before]
    for unit in case.output():
        model = case.build().eval()
        zero(model, unit.entries)
        for output, old, count in zip(outputs_of(model, case), before, changed, strict=True):
            differs = output != old
            assert (output[differs] == 0).all(), unit
            count += differs
    assert all((count == (1 if case.output() else 0)).all() for count in changed)


@every_case
def test_every_entry_comes_into_one_unit_or_is_refused(case: Case) -> None:
    """Forgotten layers would be found here."""
    model = case.build().eval()
    units = [*case.hidden(), *case.output()]
    for name, parameter in model.named_parameters():
        owners = sum(mask_of(parameter, unit.incoming.get(name, ())).long() for unit in units)
        assert (owners == (0 if name in case.unowned or is_refused(name, case) else 1)).all(), name


@every_case
def test_no_two_units_are_the_same(case: Case) -> None:
    model = case.build()
    units = [*case.hidden(), *case.output()]
    assert len({entry_set(model, unit.entries) for unit in units}) == len(units) > 0


@every_case
def test_names_exist_and_subscripts_are_in_range(case: Case) -> None:
    model = case.build().eval()
    parameters, modules = dict(model.named_parameters()), dict(model.named_modules())
    for unit in [*case.hidden(), *case.output()]:
        assert unit.kind in {"neuron", "channel", "head", "residual"}
        for entries in (unit.entries, unit.idle):
            assert all(mask_of(parameters[n], [i]).any() for n, i in each_subscript(entries)), unit
    assert set(case.unowned) <= set(parameters)
    assert all(name in modules or name in parameters for name in case.refused)


def is_refused(name: str, case: Case) -> bool:
    return any(name == layer or name.startswith(f"{layer}.") for layer in case.refused)
