"""Reading and spelling the modifiers of a mode's name.

    MODE     = BASE ("+" MODIFIER)*                      "hidden+patience=5+count=2"
    SCHEDULE = MODE ":" LOOPS ("," MODE ":" LOOPS)*      "dropout:50,output:50"

Order, spaces, numbers and defaults can be written in several ways; `spelled` gives the one that
is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from antifragile.config.modifiers.records import (
    DamageKind,
    NeuronPool,
    NeuronRank,
    OptimizerMemory,
    Promotion,
    PromotionRule,
    TargetChoice,
    Variation,
)
from antifragile.config.modifiers.table import MODIFIERS, Modifier
from antifragile.errors import SpecError, nearest

_TARGET_FIELDS = frozenset(item.name for item in fields(TargetChoice))


def read_modifiers(
    base: str,
    words: Sequence[str],
    *,
    ablates: bool,
    pool: NeuronPool | None,
    every: int | None = None,
) -> Variation:
    """Read the words after the base mode.

    Args:
        base: The base mode's name, for messages.
        words: Modifiers as written, without ``+``.
        ablates: Whether the base mode ablates anything.
        pool: The neurons that it draws from; None where only its own draw knows.
        every: Updates between two recyclings in a mode that recycles; None in others.

    Raises:
        SpecError: An unknown modifier, a bad value, or two that exclude each other.
    """
    read: dict[str, tuple[Modifier, Mapping[str, Any]]] = {}
    for word in words:
        name, values = _read_one(base, word)
        if MODIFIERS[name].needs_ablation and not ablates:
            raise SpecError(
                f"mode {base!r} ablates nothing that {word.strip()!r} could act on; did you mean "
                f"'hidden+{word.strip()}'?"
            )
        part = MODIFIERS[name].part
        if part in read:
            raise SpecError(
                f"mode {base!r} has both {read[part][0].name!r} and {name!r}, which decide the "
                f"same thing ({part}); keep one, as in {_shown(base, name)!r}"
            )
        read[part] = MODIFIERS[name], values
    if "optimizer" in read and "optimizer" in read.get("promotion", (None, {}))[1]:
        raise SpecError(
            f"mode {base!r} has both 'continuous' and {read['optimizer'][0].name!r}, which decide "
            f"the optimizer; keep one, as in '{base}+continuous'"
        )
    if "recycling" in read and every is None:
        raise SpecError(
            f"mode {base!r} has no number of updates that 'every' could change; did you mean "
            f"'redo+{MODIFIERS['every'].example}'?"
        )
    values = {key: value for _, given in read.values() for key, value in given.items()}
    if values.get("every") == every:
        values.pop("every", None)
    targets = {key: value for key, value in values.items() if key in _TARGET_FIELDS}
    is_even = len(set(targets.get("weights", ()))) == 1
    if is_even and (pool is NeuronPool.ALL or len(targets["layers"]) == 1):
        targets["weights"] = ()  # the mode's own chances
    others = {key: value for key, value in values.items() if key not in _TARGET_FIELDS}
    variation = Variation(targets=TargetChoice(**targets), **others)
    _check_together(base, variation, pool)
    return variation


def _read_one(base: str, word: str) -> tuple[str, Mapping[str, Any]]:
    name, equals, text = (part.strip() for part in word.partition("="))
    if name not in MODIFIERS:
        raise SpecError(f"mode {base!r} has no modifier {name!r}; {nearest(name, MODIFIERS)}")
    modifier = MODIFIERS[name]
    if bool(modifier.value) != bool(equals):
        raise SpecError(
            f"modifier {word.strip()!r} is written {modifier.spelling!r}; try "
            f"{_shown(base, name)!r}"
        )
    try:
        return name, modifier.read(text)
    except ValueError:
        raise SpecError(
            f"modifier {name!r} takes {modifier.value}; got {text!r:.60}; try "
            f"{_shown(base, name)!r}"
        ) from None


def _shown(base: str, name: str) -> str:
    return f"{base}+{MODIFIERS[name].example or name}"


def _check_together(base: str, variation: Variation, pool: NeuronPool | None) -> None:
    """Refuse modifiers of different parts that make no sense together."""
    choice = variation.targets
    if choice != TargetChoice() and pool is None:
        raise SpecError(
            f"mode {base!r} draws its neuron in its own way, so no modifier can choose another; "
            "did you mean 'hidden+count=2'?"
        )
    if choice.layers and pool is NeuronPool.OUTPUT:
        raise SpecError(
            f"mode {base!r} hits the output layer only, so there are no layers to draw from; did "
            f"you mean 'full+{_layers(choice)}'?"
        )
    if choice.fixed is not None and choice != TargetChoice(fixed=choice.fixed):
        raise SpecError(
            f"mode {base!r} with 'fixed' always hits the same neuron, so no other choice of "
            f"neurons can stand beside it; did you mean '{base}+{_fixed(choice)}'?"
        )
    if choice.weights and choice.rank not in (None, NeuronRank.DORMANT):
        raise SpecError(
            f"mode {base!r} with {str(choice.rank)!r} draws nothing, so layers have no chances; "
            f"did you mean '{base}+layers={'/'.join(map(str, choice.layers))}+{choice.rank}'?"
        )
    if variation.damage is DamageKind.SCATTERED and (choice.rank or choice.fixed):
        raise SpecError(
            f"mode {base!r} with 'scattered' hits weights anywhere, so it does not choose neurons; "
            f"did you mean '{base}+scattered'?"
        )


def spelled(variation: Variation) -> str:
    """Return the modifiers in their canonical spelling, each with its ``+``; empty without any."""
    words = [
        *_promotion(variation),
        *_amount(variation.targets),
        *([_layers(variation.targets)] if variation.targets.layers else []),
        *([_fixed(variation.targets)] if variation.targets.fixed is not None else []),
        *([str(variation.targets.rank)] if variation.targets.rank is not None else []),
        *([str(variation.damage)] if variation.damage is not DamageKind.ZERO else []),
        *([f"every={variation.every}"] if variation.every is not None else []),
        *([f"learning-rate={_plain(rate)}"] if (rate := variation.learning_rate) else []),
        *([f"initialisation={law}"] if (law := variation.initialisation) else []),
    ]
    return "".join(f"+{word}" for word in words)


def _promotion(variation: Variation) -> list[str]:
    promotion, optimizer = variation.promotion, variation.optimizer
    accepts = promotion.rule is PromotionRule.ALWAYS_ACCEPT
    if accepts and optimizer is OptimizerMemory.PERSISTENT:
        return ["continuous"]
    words = [] if promotion.rule is PromotionRule.GREEDY else [str(promotion.rule)]
    if promotion.loops:
        words[0] += f"={promotion.loops}"
    if promotion.growth != Promotion().growth:
        words[0] += f"x{_plain(promotion.growth)}"
    return words if optimizer is OptimizerMemory.RESET else [*words, str(optimizer)]


def _amount(choice: TargetChoice) -> list[str]:
    if choice.adaptive:
        return ["adaptive"]
    if choice.fraction is not None:
        return [f"fraction={_plain(choice.fraction)}"]
    return [] if choice.count == 1 else [f"count={choice.count}"]


def _layers(choice: TargetChoice) -> str:
    weights = [f"*{weight}" for weight in choice.weights] or [""] * len(choice.layers)
    pairs = zip(choice.layers, weights, strict=True)
    return "layers=" + "/".join(f"{layer}{weight}" for layer, weight in pairs)


def _fixed(choice: TargetChoice) -> str:
    assert choice.fixed is not None
    return "fixed={}/{}".format(*choice.fixed)


def _plain(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def needs_data(rank: NeuronRank | None) -> bool:
    """Whether an order of neurons looks at training samples, and not at the weights alone."""
    return rank not in (None, NeuronRank.LEAST_MAGNITUDE, NeuronRank.MOST_MAGNITUDE)
