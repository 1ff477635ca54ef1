"""Contradictions in a table of trials or curves: cells that cannot be true beside each other.

Each finding is a row and a sentence about it. What cannot be is a contradiction; what can be, but
is more often a mistake, is a doubt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

Finding = tuple[int, str]

_AT_MOST = (  # the lesser, the greater
    ("final_validation_accuracy", "peak_validation_accuracy"),
    ("final_correct", "peak_correct"),
    ("validation_accuracy", "bounty_accuracy"),
    ("validation_correct", "bounty"),
    ("peak_meta_loop", "meta_loops"),
)
_OF_ONE_SPLIT = (
    {
        "peak_correct": "peak_validation_accuracy",
        "final_correct": "final_validation_accuracy",
        "validation_correct": "validation_accuracy",
        "bounty": "bounty_accuracy",
    },
    {"test_correct": "test_accuracy"},
)
_EPSILON = 1e-9
_MOST_DECIMALS = 9
_MOST_FRACTION = 1.0


def contradictions(
    frame: pd.DataFrame, key: Sequence[str], *, zero_r: float = np.nan
) -> Iterator[Finding]:
    """Yield what cannot be true.

    Args:
        frame: Columns of `csv_files.KINDS`, at least one row.
        key: Columns that should differ in every row; with ``meta_loop``, rows are points of curves.
        zero_r: ZeroR accuracy in percent; NaN when unknown.
    """
    yield from _other_studies(frame)
    yield from _repeated(frame, key)
    yield from _fractions_only(frame, zero_r)
    for lesser, greater in _AT_MOST:
        if lesser in frame and greater in frame:
            rows = frame[lesser] > frame[greater] + _EPSILON
            for row in _first(rows):
                yield (
                    row,
                    f"{lesser} is {frame[lesser][row]:g}, above {greater} {frame[greater][row]:g}; "
                    "it cannot be. Are two columns exchanged?",
                )
    for pairs in _OF_ONE_SPLIT:
        there = {c: a for c, a in pairs.items() if c in frame and a in frame}
        yield from _several_sizes(frame, there)
    if "meta_loop" in key:
        yield from _broken_curves(frame, [name for name in key if name != "meta_loop"])


def doubts(frame: pd.DataFrame, *, zero_r: float = np.nan) -> Iterator[Finding]:
    """Yield what is more often a mistake than true; at most one sentence for a column.

    Args:
        frame: As for `contradictions`, and without any.
        zero_r: ZeroR accuracy in percent; NaN when unknown.
    """
    for name in _accuracies(frame):
        low = frame[name] <= _MOST_FRACTION
        if low.all() == (zero_r <= _MOST_FRACTION):  # a ZeroR may be a fraction as well
            for row in _first(low):
                yield (
                    row,
                    f"{name} is {frame[name][row]:g}, the first of {low.sum()} cell(s) of at most "
                    "1; accuracies and ZeroR are percent, not fractions.",
                )
    if "meta_loops" in frame:
        usual = int(frame["meta_loops"].mode()[0])
        for row in _first(frame["meta_loops"] != usual):
            yield (
                row,
                f"meta_loops is {frame['meta_loops'][row]}, of most trials {usual}; trials of "
                "different length are compared as if they were equal.",
            )


def _first(rows: pd.Series) -> list[int]:
    """The number of the first row that is True, in a list; an empty list if none is."""
    return [int(rows.to_numpy().argmax())] if rows.any() else []


def _other_studies(frame: pd.DataFrame) -> Iterator[Finding]:
    """The first row of a second study."""
    if "study" not in frame:
        return
    names = frame["study"]
    for row in _first(names != names[0]):
        yield (
            row,
            f"the studies {names[0]!r:.80} and {names[row]!r:.80} stand in one file; keep the rows "
            "of one study.",
        )


def _repeated(frame: pd.DataFrame, key: Sequence[str]) -> Iterator[Finding]:
    """The first row whose key an earlier one has."""
    for row in _first(frame.duplicated(list(key))):
        cell = ", ".join(f"{name} {frame[name][row]!s:.80}" for name in key)
        yield row, f"{cell} is there twice; keep one row of it."


def _accuracies(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame if str(name).endswith("accuracy")]


def _fractions_only(frame: pd.DataFrame, zero_r: float) -> Iterator[Finding]:
    """Columns of accuracies of which none is above 1, where guessing gives more than 1 percent."""
    if zero_r <= _MOST_FRACTION:
        return
    for name in _accuracies(frame):
        if 0 < (most := frame[name].max()) <= _MOST_FRACTION:
            yield (
                int(frame[name].argmax()),
                f"{name} is {most:g}, the largest of its column; expected percent, not fractions: "
                "84 for 84 %.",
            )


def _several_sizes(frame: pd.DataFrame, pairs: dict[str, str]) -> Iterator[Finding]:
    """The first row whose counts and accuracies are not of as many samples as in most rows."""
    if not pairs:
        return
    bounds = [_sizes(frame[count], frame[accuracy]) for count, accuracy in pairs.items()]
    lows, highs = (np.concatenate(parts) for parts in zip(*bounds, strict=True))
    sizes = np.unique(lows)  # the size that fits most cells is the low bound of one of them
    fitting = np.searchsorted(np.sort(lows), sizes, "right") - np.searchsorted(
        np.sort(highs), sizes, "left"
    )
    size = sizes[fitting.argmax()]
    for (count, accuracy), (low, high) in zip(pairs.items(), bounds, strict=True):
        for row in _first(pd.Series((low > size) | (high < size))):
            correct = frame[count][row]
            yield (
                row,
                f"{count} is {correct} and {accuracy} {frame[accuracy][row]:g}; of the {size:.0f} "
                f"samples that fit most lines they are {100 * correct / size:g} %.",
            )


def _sizes(count: pd.Series, accuracy: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest number of samples, of which the counts are those percentages.

    An accuracy may be rounded: it stands for all numbers within half a unit of its last decimal.
    """
    counts, percent = count.to_numpy(dtype=float), accuracy.to_numpy()
    reach = np.full(len(percent), _EPSILON)
    for decimals in reversed(range(_MOST_DECIMALS)):
        is_round = np.abs(np.round(percent, decimals) - percent) < _EPSILON
        reach[is_round] = 0.5 * 10.0**-decimals + _EPSILON
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.ceil(100 * counts / (percent + reach))
        high = np.floor(100 * counts / (percent - reach))
    high[percent <= reach] = np.inf
    return np.maximum(low, 1), high


def _broken_curves(frame: pd.DataFrame, trial: list[str]) -> Iterator[Finding]:
    """Gaps in the meta-loops of a trial, and a bounty that falls."""
    ordered = frame.sort_values([*trial, "meta_loop"], kind="stable")
    groups = ordered.groupby(trial, sort=False)
    before = groups.cumcount()
    for at in _first(ordered["meta_loop"] != before + 1):
        row = int(ordered.index[at])
        yield (
            row,
            f"meta_loop is {frame['meta_loop'][row]}, with {before[row]} before it in this trial; "
            "a curve has every meta_loop from 1 on.",
        )
    if "bounty_accuracy" in ordered:
        for at in _first(groups["bounty_accuracy"].diff() < -_EPSILON):
            row = int(ordered.index[at])
            yield (
                row,
                f"bounty_accuracy falls to {frame['bounty_accuracy'][row]:g}; the best so far "
                "cannot fall.",
            )
