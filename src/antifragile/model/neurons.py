"""Ablating one neuron, as pure functions on weights: choose a target, zero it, say what was zeroed.

Linear layers are numbered 0 .. L, of which 0 .. L-1 are hidden and L is the output layer.

| ablation | the neuron is drawn                               | what becomes zero              |
|----------|---------------------------------------------------|--------------------------------|
| full     | one of the L+1 layers, then one of its neurons    | incoming weights, bias         |
| hidden   | uniformly among all hidden neurons                | incoming weights, bias, outgoing |
| output   | uniformly among the output neurons                | incoming weights, bias         |

Source: PSA paper, sections II.D and II.F, and its released code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from antifragile.config.modes import Ablation
from antifragile.errors import UsageError
from antifragile.model.networks import Weights

Chooser = Callable[[Sequence[int], np.random.Generator], tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class AblationTarget:
    """One neuron: its linear layer (0-based, L is the output layer) and its index in it."""

    ablation: Ablation
    layer: int
    neuron: int

    @property
    def zeroes_outgoing(self) -> bool:
        """Whether the weights that read this neuron are zeroed as well."""
        return self.ablation is Ablation.HIDDEN


@dataclass(frozen=True, kw_only=True)
class AblationReport:
    """What an ablation did: how many entries it zeroed, and how many were zero before."""

    target: AblationTarget
    n_zeroed: int
    n_already_zero: int


def choose_target(
    ablation: Ablation, layer_sizes: Sequence[int], *, rng: np.random.Generator
) -> AblationTarget:
    """Draw the neuron to ablate.

    Args:
        ablation: Where to look.
        layer_sizes: Units from input to logits, length L + 2.
        rng: The trial's ablation stream at this meta-loop.

    Raises:
        UsageError: ``hidden`` without a hidden layer.
    """
    layer, neuron = _CHOOSERS[ablation](layer_sizes[1:], rng)
    return AblationTarget(ablation=ablation, layer=layer, neuron=neuron)


def ablate(weights: Weights, target: AblationTarget) -> tuple[Weights, AblationReport]:
    """Return a copy of ``weights`` with the target's entries zeroed; the argument is untouched."""
    ablated = {name: value.clone() for name, value in weights.items()}
    pieces = [
        ablated[f"layers.{target.layer}.weight"][target.neuron],
        ablated[f"layers.{target.layer}.bias"][target.neuron],
    ]
    if target.zeroes_outgoing:
        pieces.append(ablated[f"layers.{target.layer + 1}.weight"][:, target.neuron])
    already_zero = sum(int((piece == 0).sum()) for piece in pieces)
    for piece in pieces:
        piece.zero_()
    n_zeroed = sum(piece.numel() for piece in pieces)
    return ablated, AblationReport(target=target, n_zeroed=n_zeroed, n_already_zero=already_zero)


def _choose_full(widths: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
    layer = int(rng.integers(len(widths)))
    return layer, int(rng.integers(widths[layer]))


def _choose_hidden(widths: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
    hidden = widths[:-1]
    if not hidden:
        raise UsageError(
            "mode 'hidden' needs at least one hidden layer; got none. Use 'output', or add a layer."
        )
    index = int(rng.integers(sum(hidden)))
    starts = np.cumsum([0, *hidden])
    layer = int(np.searchsorted(starts, index, side="right")) - 1
    return layer, index - int(starts[layer])


def _choose_output(widths: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
    return len(widths) - 1, int(rng.integers(widths[-1]))


_CHOOSERS: Mapping[Ablation, Chooser] = {
    Ablation.FULL: _choose_full,
    Ablation.HIDDEN: _choose_hidden,
    Ablation.OUTPUT: _choose_output,
}
