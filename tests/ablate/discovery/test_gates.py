"""The gate of a product is chosen by what its factors are, and by nothing where that is open."""

from __future__ import annotations

import pytest

from antifragile.ablate.discovery.gates import gate_of
from antifragile.ablate.trace.records import SiteRun, Value

WHOLE = (4, 8)


def factor(producer: str = "AddmmBackward0", *, in_unit: bool = False, shape=WHOLE) -> Value:  # type: ignore[no-untyped-def]
    return Value(shape=shape, dtype="torch.float32", producer=producer, in_unit=in_unit)


def chosen(one: Value, other: Value, texts: tuple[str, str] = ("a", "b")) -> str | None:
    """The gate's text; the order of the factors must not matter."""
    found = set()
    for pair, words in (((one, other), texts), ((other, one), texts[::-1])):
        run = SiteRun(
            operands=dict(zip("01", pair, strict=True)),
            outputs=(Value(shape=WHOLE, dtype="torch.float32"),),
        )
        gate = gate_of(run, dict(zip("01", words, strict=True)))
        found.add(None if gate is None else words[int(gate)])
    [text] = found
    return text


SIGMOID = factor("SigmoidBackward0", in_unit=True)
SOFTMAX = factor("SoftmaxBackward0", in_unit=True)
TANH = factor("TanhBackward0")
RELU = factor("ReluBackward0", in_unit=True)
LINEAR = factor()


@pytest.mark.parametrize("other", [TANH, LINEAR, RELU, factor("AccumulateGrad", in_unit=True)])
@pytest.mark.parametrize("gate", [SIGMOID, SOFTMAX, factor("HardsigmoidBackward0", in_unit=True)])
def test_a_sigmoid_gates_what_is_none(gate: Value, other: Value) -> None:
    assert chosen(gate, other) == "a"
    assert chosen(gate, other, ("i", "g")) == "i"  # the letter of a cell's content


def test_values_within_0_and_1_gate_others() -> None:
    rest, mask = factor("RsubBackward1", in_unit=True), factor("", in_unit=True)
    assert chosen(rest, LINEAR) == "a"
    assert chosen(mask, LINEAR) == "a"
    assert chosen(factor("RsubBackward1"), LINEAR) is None


def test_values_that_lie_there_by_accident_do_not() -> None:
    assert chosen(RELU, LINEAR) is None
    assert chosen(factor(in_unit=True), LINEAR) is None


def test_a_sigmoid_that_leaves_the_range_is_none() -> None:
    assert chosen(factor("SigmoidBackward0"), TANH) is None


def test_a_broadcast_factor_gates() -> None:
    assert chosen(factor(shape=(4, 1)), LINEAR) == "a"
    assert chosen(factor(shape=(4, 1)), factor(shape=(1, 8))) is None


def test_a_name_decides_where_nothing_else_does() -> None:
    assert chosen(LINEAR, LINEAR, ("gate", "content")) == "gate"
    assert chosen(LINEAR, LINEAR, ("self.gate_proj(x)", "self.up(x)")) == "self.gate_proj(x)"
    assert chosen(LINEAR, LINEAR, ("attn", "v")) == "attn"
    assert chosen(LINEAR, LINEAR, ("gate", "attn")) == "gate"
    assert chosen(LINEAR, LINEAR, ("delegate", "investigate")) is None


def test_two_of_a_kind_are_open() -> None:
    assert chosen(LINEAR, LINEAR) is None
    assert chosen(SIGMOID, SOFTMAX) is None
    assert chosen(LINEAR, LINEAR, ("gate", "mask")) is None


def test_a_name_that_contradicts_leaves_it_open() -> None:
    assert chosen(factor("MulBackward0", in_unit=True), LINEAR, ("x", "gate")) is None
    assert chosen(factor(shape=(4, 1)), LINEAR, ("x", "gate")) is None


def test_the_activation_of_a_gated_linear_unit_gates() -> None:
    assert chosen(factor("SiluBackward0"), LINEAR) == "a"
    assert chosen(factor("GeluBackward0"), LINEAR) == "a"
    assert chosen(TANH, LINEAR) is None
