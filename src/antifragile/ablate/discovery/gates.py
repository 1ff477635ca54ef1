"""The gate of a product `a * b`: the factor that says how much of the other one passes.

It is chosen by what the factors are, the surest evidence first; where the evidence is open or
speaks against itself, none is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from antifragile.ablate.trace.records import SiteRun, Value

_SQUASHED = re.compile(r"\w*(Sigmoid|Softmax)Backward\d*", re.IGNORECASE)
_KEEPS_RANGE = re.compile(  # within [0, 1] by its making; what follows a matrix is so by accident
    r"((Mul|Rsub|Sub|Div|Clamp|ClampMin|ClampMax|Where|Exp|MaskedFill|Minimum|Maximum)Backward\d*)?"
)
_ACTIVATED = re.compile(r"(Silu|Gelu)Backward\d*")  # of gated linear units
_PLAIN_NAMES = frozenset(("gate", "gates", "gating", "mask", "masks", "alpha"))
_NAMES = frozenset(("g", "att", "attn", "attention", "weights", "scale"))


def gate_of(run: SiteRun, texts: Mapping[str, str]) -> str | None:
    """Return the factor that gates, or None where that is open.

    In this order: a sigmoid or softmax beside something else; values within [0, 1] beside others; a
    broadcast factor; a name; the activation of a gated linear unit. A plain name such as `gate`
    on the other side overrules the second and the third: then it is open.

    Args:
        run: The product.
        texts: The text of each factor.
    """
    values, whole = run.operands, run.outputs[0].shape
    named = named_one(texts, _PLAIN_NAMES)
    squashed = only(texts, lambda name: is_squashed(values[name]))
    if squashed is not None:
        return squashed
    within = only(texts, lambda name: is_within(values[name]))
    if within is None:
        within = only(texts, lambda name: values[name].shape != whole)
    if within is not None:
        return within if named in (None, within) else None
    named = named or named_one(texts, _NAMES)
    return named or only(texts, lambda name: bool(_ACTIVATED.fullmatch(values[name].producer)))


def only(names: Iterable[str], holds: Callable[[str], bool]) -> str | None:
    """Return the one name for which something holds; None when it holds for several, or none."""
    found = [name for name in names if holds(name)]
    return found[0] if len(found) == 1 else None


def named_one(texts: Mapping[str, str], words: frozenset[str]) -> str | None:
    """Return the one factor whose text has one of some words."""
    return only(texts, lambda name: not words.isdisjoint(re.findall("[a-z]+", texts[name].lower())))


def is_squashed(value: Value) -> bool:
    """Whether a sigmoid or softmax made a value, which lies within [0, 1]."""
    return value.in_unit and _SQUASHED.fullmatch(value.producer) is not None


def is_within(value: Value) -> bool:
    """Whether a value lies within [0, 1], and not by accident."""
    return value.in_unit and (is_squashed(value) or bool(_KEEPS_RANGE.fullmatch(value.producer)))
