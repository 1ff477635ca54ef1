"""Measurements: the arrays and facts that children sent, read and compared where no model runs.

The baseline's results are read into memory once, before any variant runs, so no variant can change
what it is compared with. What a child sends is checked for its form and otherwise taken as that
model's own results: a malformed answer is one sentence, `Unmeasured`, never an error of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from antifragile.ablate.certify.arrays import MalformedArrays, load_arrays
from antifragile.ablate.certify.compare import (
    PART_WORDS,
    are_identical,
    difference,
    is_finite,
    moves,
    stands_still,
)
from antifragile.ablate.certify.measurements import (
    BaselineMeasurement,
    BaselineRun,
    ModelRun,
    VariantMeasurement,
)
from antifragile.ablate.certify.probe import OTHER_INPUTS, SALTS, WEIGHTS
from antifragile.ablate.frameworks.arrays import Leaves
from antifragile.ablate.frameworks.subject import MODES

CLEAR = 1e-3  # relative difference from which on no further draws are needed
_MOST_TIMES = 8  # a variant may leave so many times the bytes of the baseline,
_MOST_MORE = 1 << 26  # and so many more


class Unmeasured(Exception):
    """A model's results cannot be used; the message is the reason in words."""


def read_results(path: Path, baseline: Leaves | None = None) -> Leaves:
    """Read the arrays that a child left, and remove the file.

    Args:
        path: The file that the child was told to write.
        baseline: The baseline's arrays, which bound the size of a variant's.

    Raises:
        Unmeasured: There is no file, it is too large, or it holds something else.
    """
    size = None if baseline is None else sum(array.nbytes for array in baseline.values())
    most = None if size is None else _MOST_TIMES * size + _MOST_MORE
    try:
        return load_arrays(path, most_bytes=most)
    except MalformedArrays as error:
        raise Unmeasured(f"left no results that can be read: its file {error}") from error
    finally:
        if path.is_file() or path.is_symlink():
            path.unlink()


def measure_baseline(run: BaselineRun, sent: Leaves) -> BaselineMeasurement:
    """Compute what is known about the unchanged model.

    Args:
        run: The facts that its process told.
        sent: The arrays that it left.

    Raises:
        Unmeasured: It is not deterministic.
    """
    _check_repeats(run)
    return BaselineMeasurement(
        **_shared(run, sent),
        unit=run.unit,
        noise={name: _noise(sent, name) for name in WEIGHTS},
        out_of_reach=not all(
            are_identical(below(sent, "given", part), below(sent, "other seed", part))
            for part in (*MODES, "loss")
        ),
        is_random=run.is_random,
        builds_late=run.builds_late,
        other_inputs=run.other_inputs,
    )


def measure_variant(
    baseline: BaselineMeasurement, kept: Leaves, run: ModelRun, sent: Leaves
) -> VariantMeasurement:
    """Compare a variant's results with the baseline's.

    Args:
        baseline: The measurement of the unchanged model.
        kept: The baseline's arrays.
        run: The facts that the variant's process told.
        sent: The arrays that it left.

    Raises:
        Unmeasured: It is not deterministic, or its arrays are not those that it describes.
    """
    _check_repeats(run)
    if run.signature == baseline.signature:
        _check_fit(kept, sent)
    return VariantMeasurement(
        **_shared(run, sent),
        differences={
            f"{name}/{part}": difference(below(kept, name, part), below(sent, name, part))
            for name in WEIGHTS
            for part in _compared(kept, name)
        },
        same_for_other_inputs=list(_same_for_other_inputs(kept, sent, baseline.unit)),
        ignores_parameters=_ignores_parameters(kept, sent, baseline.unit),
    )


def needs_further_draws(baseline: BaselineMeasurement, found: VariantMeasurement) -> bool:
    """Whether a random model shows no clear change, so that other draws may show one."""
    largest = max(item.relative for item in found.differences.values())
    return baseline.is_random and largest < CLEAR


def redrawn_difference(kept: Leaves, sent: Leaves) -> float:
    """Return the largest relative difference in training mode over further draws.

    Args:
        kept: The baseline's arrays.
        sent: Those of a variant's `draw_again`.
    """
    salts = [("redrawn", str(salt)) for salt in range(1, SALTS + 1)]
    return max(difference(below(kept, *salt), below(sent, *salt)).relative for salt in salts)


def below(arrays: Leaves, *places: str) -> Leaves:
    """Return the arrays whose names begin with some words, by the rest of their names."""
    prefix = "".join(f"{place}/" for place in places)
    return {
        path.removeprefix(prefix): leaf for path, leaf in arrays.items() if path.startswith(prefix)
    }


def _shared(run: ModelRun, sent: Leaves) -> dict[str, Any]:
    """The fields that the measurements of baseline and variants share."""
    peaks = {name: below(sent, name, "peaks") for name in WEIGHTS}
    return {
        "parameters": run.parameters,
        "signature": run.signature,
        "without_gradient": run.without_gradient,
        "gradient_peaks": {
            name: {path: float(peak.max(initial=0.0)) for path, peak in found.items()}
            for name, found in peaks.items()
        },
        "stream_digest": run.stream_digest,
        "finite": {
            name: all(is_finite(below(sent, name, part)) for part in (*MODES, "loss"))
            for name in WEIGHTS
        },
    }


def _compared(kept: Leaves, name: str) -> list[str]:
    """The parts of a run that are compared: those that the baseline has, and the inputs."""
    return [
        part
        for part in PART_WORDS
        if part in (*MODES, "inputs") or any(path.startswith(f"{name}/{part}/") for path in kept)
    ]


def _noise(sent: Leaves, name: str) -> dict[str, float]:
    """Relative response of each part when every parameter moves by one rounding unit."""
    return {
        part: difference(below(sent, name, part), below(sent, "moved", name, part)).relative
        for part in _compared(sent, name)
    }


def _check_repeats(run: ModelRun) -> None:
    unequal = [part for part, digests in run.repeats.items() if len(set(digests)) != 1]
    if missing := {*MODES, "inputs", "gradients"} - run.repeats.keys():
        raise Unmeasured(f"did not say whether {PART_WORDS[min(missing)]} repeats")
    if unequal:
        parts = ", ".join(PART_WORDS.get(name, name) for name in unequal)
        raise Unmeasured(f"not deterministic: with the same seed and weights, {parts} differed")


def _check_fit(kept: Leaves, sent: Leaves) -> None:
    """Refuse outputs that are said to be the baseline's in form, and are not."""
    for mode in MODES:
        expected, got = below(kept, "given", mode), below(sent, "given", mode)
        if {path: (leaf.shape, leaf.dtype) for path, leaf in expected.items()} != {
            path: (leaf.shape, leaf.dtype) for path, leaf in got.items()
        }:
            raise Unmeasured(f"left other arrays than it describes ({PART_WORDS[mode]})")
        if expected and not below(sent, "randomised", mode):
            raise Unmeasured(f"left no arrays of {PART_WORDS[mode]} on randomised weights")


def _same_for_other_inputs(kept: Leaves, sent: Leaves, unit: float) -> Iterator[str]:
    """Yield the outputs that move with the inputs in the baseline, but not in the variant.

    On one of the two sets of weights is enough: a layer that starts at zero hides what is behind.
    """
    for mode in MODES:
        for path in _floating(kept, mode):
            places = [f"{name}/{mode}/{path}" for name in WEIGHTS]
            if not any(_moved(kept, place, unit) for place in places):
                continue
            if all(_is_still(sent, place, unit) for place in places):
                yield mode + path


def _floating(kept: Leaves, mode: str) -> list[str]:
    return [path for path, leaf in below(kept, "given", mode).items() if leaf.dtype.kind in "fc"]


def _moved(kept: Leaves, place: str, unit: float) -> bool:
    one, other = kept.get(place), kept.get(OTHER_INPUTS + place)
    return one is not None and other is not None and moves(one, other, unit)


def _is_still(sent: Leaves, place: str, unit: float) -> bool:
    """Whether an output stays the same; a run that was not made, or sent, shows no dependence."""
    one, other = sent.get(place), sent.get(OTHER_INPUTS + place)
    return one is None or other is None or stands_still(one, other, unit)


def _ignores_parameters(kept: Leaves, sent: Leaves, unit: float) -> bool:
    """Whether outputs that differ between the two sets of weights all stopped to do so."""
    given, randomised = WEIGHTS
    places = [f"{mode}/{path}" for mode in MODES for path in _floating(kept, mode)]
    moved = [
        place
        for place in places
        if f"{randomised}/{place}" in kept
        and moves(kept[f"{given}/{place}"], kept[f"{randomised}/{place}"], unit)
    ]
    pairs = [(sent.get(f"{given}/{place}"), sent.get(f"{randomised}/{place}")) for place in moved]
    return bool(pairs) and all(
        one is not None and other is not None and stands_still(one, other, unit)
        for one, other in pairs
    )
