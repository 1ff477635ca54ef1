"""The neurons of a network that a mode may hit, and whether it has those that the mode names."""

from __future__ import annotations

from collections.abc import Sequence

from antifragile.config.modifiers.records import NeuronPool, TargetChoice
from antifragile.errors import UsageError


def eligible_layers(
    pool: NeuronPool | None, choice: TargetChoice, widths: Sequence[int]
) -> list[int]:
    """Return the linear layers that the neurons come from.

    Args:
        pool: The base mode's.
        choice: The modifiers'.
        widths: Neurons of every linear layer, the output layer last.

    Raises:
        UsageError: The network has no such layer.
    """
    last = len(widths) - 1
    pools = {NeuronPool.HIDDEN: range(last), NeuronPool.OUTPUT: range(last, last + 1)}
    layers = list(pools.get(pool or NeuronPool.ALL, range(last + 1)))
    if not layers:
        raise UsageError("a mode that hits hidden neurons needs a hidden layer; got none.")
    if missing := [layer for layer in choice.layers if layer not in layers]:
        raise UsageError(
            f"layer {missing[0]} has no neurons that the mode may hit; it has layers {layers[0]} "
            f"to {layers[-1]} in this network, as in 'layers={layers[0]}'."
        )
    return list(choice.layers) or layers


def count_eligible(pool: NeuronPool | None, choice: TargetChoice, widths: Sequence[int]) -> int:
    """Count the neurons that a mode may hit."""
    return sum(widths[layer] for layer in eligible_layers(pool, choice, widths))


def check_choice(pool: NeuronPool | None, choice: TargetChoice, widths: Sequence[int]) -> None:
    """Refuse a choice of neurons that a network does not have.

    Args:
        pool: The base mode's.
        choice: The modifiers'.
        widths: Neurons of every linear layer, the output layer last.

    Raises:
        UsageError: It names a layer or neuron that is not there, or more than there are.
    """
    layers, n_eligible = eligible_layers(pool, choice, widths), count_eligible(pool, choice, widths)
    if choice.count > n_eligible:
        raise UsageError(
            f"count={choice.count} asks for more neurons than the {n_eligible} that the mode may "
            f"hit in this network; use at most count={n_eligible}."
        )
    if choice.fixed is None:
        return
    layer, neuron = choice.fixed
    if layer not in layers:
        raise UsageError(
            f"fixed={layer}/{neuron} is in layer {layer}, and the mode may hit layers {layers[0]} "
            f"to {layers[-1]} in this network, as in 'fixed={layers[0]}/0'."
        )
    if neuron >= widths[layer]:
        raise UsageError(
            f"fixed={layer}/{neuron} is no neuron of this network, whose layer {layer} has "
            f"{widths[layer]}; the last one is 'fixed={layer}/{widths[layer] - 1}'."
        )
