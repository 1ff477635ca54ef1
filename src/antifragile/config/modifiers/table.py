"""The table of modifiers: how each is written, what it changes, and what it means.

The grammar, the messages of `get_mode` and ``antifragile info`` are made from this table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from antifragile.config.modifiers.records import (
    DamageKind,
    NeuronRank,
    OptimizerMemory,
    Promotion,
    PromotionRule,
)
from antifragile.config.networks import Initialiser

MAX_NUMBER = 10**6
_LEAST_FRACTION = 1e-6
_MOST_LEARNING_RATE = 1000


@dataclass(frozen=True, kw_only=True)
class Modifier:
    """One modifier.

    Args:
        name: The word before ``=``.
        part: The part of a mode that it decides; a mode has one modifier for each.
        words: Its meaning in one line.
        value: Its value as a message shows it, empty for a modifier without one.
        example: A valid spelling.
        read: Returns the fields of a variation that a value decides; raises ValueError for a bad
            one.
        needs_ablation: Whether it acts on what the mode ablates.
        default: Whether it is what a mode does anyway, and is left out of its name.
    """

    name: str
    part: str
    words: str
    value: str = ""
    example: str = ""
    read: Callable[[str], Mapping[str, Any]]
    needs_ablation: bool = False
    default: bool = False

    @property
    def spelling(self) -> str:
        """The modifier with its value, as a message shows it."""
        return f"{self.name}={self.value}" if self.value else self.name


def _number(text: str, least: int = 1) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text[:9]) <= MAX_NUMBER:
        raise ValueError
    return int(text)


def _patience(text: str) -> Mapping[str, Any]:
    loops, cross, growth = text.partition("x")
    factor = float(growth) if cross else Promotion().growth
    if not 1 <= factor <= 100:
        raise ValueError
    rule = PromotionRule.PATIENCE
    return {"promotion": Promotion(rule=rule, loops=_number(loops), growth=factor)}


def _restart(text: str) -> Mapping[str, Any]:
    return {"promotion": Promotion(rule=PromotionRule.RESTART, loops=_number(text))}


def _fraction(text: str) -> Mapping[str, Any]:
    share = float(text)
    if not _LEAST_FRACTION <= share <= 1:
        raise ValueError
    return {"fraction": share}


def _layers(text: str) -> Mapping[str, Any]:
    """Sort the layers; chances are divided by their common divisor."""
    pairs = sorted(_layer(part) for part in text.split("/"))
    layers = tuple(layer for layer, _ in pairs)
    weights = [weight for _, weight in pairs if weight is not None]
    if len(set(layers)) < len(layers) or len(weights) not in (0, len(layers)):
        raise ValueError
    divisor = math.gcd(*weights)
    return {"layers": layers, "weights": tuple(weight // divisor for weight in weights)}


def _layer(text: str) -> tuple[int, int | None]:
    layer, star, weight = text.partition("*")
    return _number(layer.strip(), 0), _number(weight.strip()) if star else None


def _fixed(text: str) -> Mapping[str, Any]:
    layer, _, neuron = text.partition("/")
    return {"fixed": (_number(layer.strip(), 0), _number(neuron.strip(), 0))}


def _learning_rate(text: str) -> Mapping[str, Any]:
    rate = float(text)
    if not 0 < rate <= _MOST_LEARNING_RATE:
        raise ValueError
    return {"learning_rate": rate}


def _always(**fields: Any) -> Callable[[str], Mapping[str, Any]]:
    return lambda _: fields


_ACCEPTS = Promotion(rule=PromotionRule.ALWAYS_ACCEPT)
_RANK_WORDS = {
    NeuronRank.LEAST_MAGNITUDE: "the neurons with the smallest incoming weights (norm)",
    NeuronRank.MOST_MAGNITUDE: "the neurons with the largest incoming weights (norm)",
    NeuronRank.LEAST_ACTIVATION: "the neurons with the smallest mean absolute activation",
    NeuronRank.MOST_ACTIVATION: "the neurons with the largest mean absolute activation",
    NeuronRank.LEAST_GRADIENT: "the neurons with the smallest gradient of their incoming weights",
    NeuronRank.MOST_GRADIENT: "the neurons with the largest gradient of their incoming weights",
    NeuronRank.DORMANT: "a neuron that hardly fires (arXiv 2302.12902), or none if all do",
}

_LISTED = (
    Modifier(
        name="greedy",
        part="promotion",
        words="a candidate becomes the LKG only if it beats the bounty (the paper)",
        read=_always(promotion=Promotion()),
        default=True,
    ),
    Modifier(
        name="patience",
        part="promotion",
        words="after N failures in a row the best of them becomes the LKG; then N doubles, or "
        "grows by G (NxG), until a candidate beats the bounty",
        value="N or NxG",
        example="patience=5",
        read=_patience,
    ),
    Modifier(
        name="always-accept",
        part="promotion",
        words="every candidate becomes the LKG; the best one is kept aside",
        read=_always(promotion=_ACCEPTS),
    ),
    Modifier(
        name="restart",
        part="promotion",
        words="a fresh network every K meta-loops, greedy in between; the best one is kept",
        value="K",
        example="restart=10",
        read=_restart,
    ),
    Modifier(
        name="continuous",
        part="promotion",
        words="ordinary training: always-accept and persistent together",
        read=_always(promotion=_ACCEPTS, optimizer=OptimizerMemory.PERSISTENT),
    ),
    Modifier(
        name="reset",
        part="optimizer",
        words="a fresh optimizer in every meta-loop (the paper)",
        read=_always(optimizer=OptimizerMemory.RESET),
        default=True,
    ),
    Modifier(
        name="persistent",
        part="optimizer",
        words="the optimizer's moments and step count go on, promoted or not",
        read=_always(optimizer=OptimizerMemory.PERSISTENT),
    ),
    Modifier(
        name="persistent-zeroed",
        part="optimizer",
        words="as persistent, but the moments of the entries that are hit become zero",
        read=_always(optimizer=OptimizerMemory.ZEROED),
        needs_ablation=True,
    ),
    Modifier(
        name="count",
        part="amount",
        words="hit K different neurons",
        value="K",
        example="count=2",
        read=lambda text: {"count": _number(text)},
        needs_ablation=True,
    ),
    Modifier(
        name="fraction",
        part="amount",
        words="hit this share of the mode's neurons, rounded, at least one",
        value="F (above 0, at most 1)",
        example="fraction=0.1",
        read=_fraction,
        needs_ablation=True,
    ),
    Modifier(
        name="adaptive",
        part="amount",
        words="hit one neuron at first, twice as many after a success, half after a failure",
        read=_always(adaptive=True),
        needs_ablation=True,
    ),
    Modifier(
        name="layers",
        part="layers",
        words="draw from these linear layers (0-based), with chances where given (*)",
        value="A/B or A*W/B*W",
        example="layers=0/1",
        read=_layers,
        needs_ablation=True,
    ),
    Modifier(
        name="fixed",
        part="fixed",
        words="hit the same neuron every time",
        value="LAYER/NEURON",
        example="fixed=0/0",
        read=_fixed,
        needs_ablation=True,
    ),
    *(
        Modifier(
            name=str(rank), part="rank", words=words, read=_always(rank=rank), needs_ablation=True
        )
        for rank, words in _RANK_WORDS.items()
    ),
    Modifier(
        name="zero",
        part="damage",
        words="what is hit becomes zero (the paper)",
        read=_always(damage=DamageKind.ZERO),
        needs_ablation=True,
        default=True,
    ),
    Modifier(
        name="noise",
        part="damage",
        words="Gaussian noise is added to what is hit, of the same norm as it has",
        read=_always(damage=DamageKind.NOISE),
        needs_ablation=True,
    ),
    Modifier(
        name="reinit",
        part="damage",
        words="incoming weights become fresh ones, outgoing ones zero where the mode zeroes them",
        read=_always(damage=DamageKind.REINIT),
        needs_ablation=True,
    ),
    Modifier(
        name="scattered",
        part="damage",
        words="as many single weights become zero, anywhere in the network",
        read=_always(damage=DamageKind.SCATTERED),
        needs_ablation=True,
    ),
    Modifier(
        name="every",
        part="recycling",
        words="draw dormant neurons anew every F updates",
        value="F",
        example="every=500",
        read=lambda text: {"every": _number(text)},
    ),
    Modifier(
        name="learning-rate",
        part="learning rate",
        words="another step size of AdamW than the training options have",
        value=f"F (above 0, at most {_MOST_LEARNING_RATE:,})",
        example="learning-rate=0.001",
        read=_learning_rate,
    ),
    Modifier(
        name="initialisation",
        part="initialisation",
        words="another law of fresh weights than the training options have",
        value=" or ".join(Initialiser),
        example=f"initialisation={Initialiser.HE}",
        read=lambda text: {"initialisation": Initialiser(text)},
    ),
)

MODIFIERS: Mapping[str, Modifier] = {item.name: item for item in _LISTED}
"""Every modifier by name, in the order of the canonical spelling of a mode."""
