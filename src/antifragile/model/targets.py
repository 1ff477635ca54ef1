"""The neurons that a mode hits: how many, which ones, drawn or by rank, from widths alone.

Pure functions over the widths of the linear layers; a network comes in only as the values that
`ranks` measures. A mode without modifiers draws exactly as the paper's modes do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from antifragile.config.modes import Ablation
from antifragile.config.modifiers.eligible import (
    check_choice,
    count_eligible,
    eligible_layers,
)
from antifragile.config.modifiers.records import (
    DORMANT_SHARE,
    NeuronPool,
    NeuronRank,
    TargetChoice,
)

Neuron = tuple[int, int]
"""Linear layer (0-based) and index in it."""


def choose_neurons(
    ablation: Ablation,
    choice: TargetChoice,
    widths: Sequence[int],
    *,
    rng: np.random.Generator,
    rate: int = 1,
    values: Sequence[np.ndarray] | None = None,
) -> list[Neuron]:
    """Choose different neurons; none only where a mode hits dormant ones and there are none.

    Args:
        ablation: The base mode's.
        choice: The modifiers'.
        widths: Neurons of every linear layer, the output layer last.
        rng: The trial's ablation stream at this meta-loop.
        rate: Number of neurons in an adaptive mode.
        values: Values of the neurons of every layer, where the choice has a rank.

    Raises:
        UsageError: The network has no such neuron, or too few.
    """
    if choice == TargetChoice():
        return [ablation.choose(widths, rng)]
    check_choice(ablation.pool, choice, widths)
    if choice.fixed is not None:
        return [choice.fixed]
    layers = eligible_layers(ablation.pool, choice, widths)
    eligible = {layer: list(range(widths[layer])) for layer in layers}
    number = _number(choice, count_eligible(ablation.pool, choice, widths), rate)
    if choice.rank is NeuronRank.DORMANT:
        assert values is not None, "a rank has values"
        eligible = {layer: _dormant(values[layer]) for layer in eligible}
        number = min(number, sum(map(len, eligible.values())))
    elif choice.rank is not None:
        assert values is not None, "a rank has values"
        return _first(eligible, values, choice.rank)[:number]
    return [_draw(eligible, ablation, choice, rng) for _ in range(number)]


def most_neurons(ablation: Ablation | None, choice: TargetChoice, widths: Sequence[int]) -> int:
    """Upper bound of an adaptive rate; 1 where the mode has none."""
    if ablation is None or not choice.adaptive:
        return 1
    return count_eligible(ablation.pool, choice, widths)


def _number(choice: TargetChoice, n_eligible: int, rate: int) -> int:
    if choice.adaptive:
        return min(rate, n_eligible)
    if choice.fraction is not None:
        return min(n_eligible, max(1, round(choice.fraction * n_eligible)))
    return choice.count


def _dormant(values: np.ndarray) -> list[int]:
    """Find the neurons of a layer that hardly fire, by their mean absolute activations."""
    return [int(index) for index in np.flatnonzero(values <= DORMANT_SHARE * values.mean())]


def _first(
    eligible: Mapping[int, list[int]], values: Sequence[np.ndarray], rank: NeuronRank
) -> list[Neuron]:
    """Order all neurons by rank; equal ones by their place."""
    neurons = [(layer, index) for layer, indices in eligible.items() for index in indices]
    found = np.concatenate([values[layer] for layer in eligible])
    order = np.argsort(-found if rank.startswith("most") else found, kind="stable")
    return [neurons[place] for place in order]


def _draw(
    eligible: dict[int, list[int]],
    ablation: Ablation,
    choice: TargetChoice,
    rng: np.random.Generator,
) -> Neuron:
    """Draw one neuron and take it out; the first draw is the base mode's own."""
    layers = [layer for layer, indices in eligible.items() if indices]
    sizes = [len(eligible[layer]) for layer in layers]
    if choice.weights:
        chances = dict(zip(choice.layers, choice.weights, strict=True))
        place, _ = _locate([chances[layer] for layer in layers], rng)
    elif ablation.pool is NeuronPool.ALL:
        place = int(rng.integers(len(layers)))
    else:
        place, index = _locate(sizes, rng)
        return layers[place], eligible[layers[place]].pop(index)
    return layers[place], eligible[layers[place]].pop(int(rng.integers(sizes[place])))


def _locate(sizes: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
    """Draw one of ``sum(sizes)`` things; return its part and its index there."""
    index, place = int(rng.integers(sum(sizes))), 0
    while index >= sizes[place]:
        index -= sizes[place]
        place += 1
    return place, index
