"""Measurements: the arrays and facts that children sent, read and compared where no model runs.

The baseline's results are read into memory once, before any variant runs, so no variant can change
what it is compared with. What a child sends is checked for its form and otherwise taken as that
model's own results: a malformed answer is one sentence, `Unmeasured`, never an error of ours.
"""

from __future__ import annotations

from pathlib import Path

from antifragile.ablate.certify.arrays import MalformedArrays, load_arrays
from antifragile.ablate.certify.compare import (
    PART_WORDS,
    ROUNDING_UNITS,
    are_identical,
    difference,
    is_finite,
    largest_magnitude,
)
from antifragile.ablate.certify.measurements import (
    BaselineMeasurement,
    BaselineRun,
    ModelRun,
    VariantMeasurement,
)
from antifragile.ablate.certify.probe import SALTS, SHAKES, WEIGHTS
from antifragile.ablate.certify.responses import (
    floating_outputs,
    input_responses,
    parameter_responses,
    responses_to_inputs,
)
from antifragile.ablate.frameworks.arrays import Leaves
from antifragile.ablate.frameworks.subject import MODES

CLEAR = 1e-3  # relative difference from which on no further draws are needed
_MOST_TIMES = 8  # a variant may leave so many times the bytes of the baseline,
_MOST_MORE = 1 << 26  # and so many more


class Unmeasured(Exception):
    """A model's results cannot be used; the message is the reason in words."""


def most_bytes_beside(baseline: Leaves) -> int:
    """Largest size of a variant's results.

    Args:
        baseline: The arrays of the unchanged model.
    """
    return _MOST_TIMES * sum(array.nbytes for array in baseline.values()) + _MOST_MORE


def read_results(path: Path, most_bytes: int) -> Leaves:
    """Read the arrays that a child left, and remove the file.

    Args:
        path: The file that the child was told to write.
        most_bytes: Largest size that is read.

    Raises:
        Unmeasured: There is no file, it is too large, or it holds something else.
    """
    try:
        return load_arrays(path, most_bytes=most_bytes)
    except MalformedArrays as error:
        raise Unmeasured(f"left no results that can be read: its file {error}") from error
    finally:
        if path.is_file() or path.is_symlink():
            path.unlink()


def measure_baseline(run: BaselineRun, sent: Leaves) -> BaselineMeasurement:
    """Compute what is known about the unchanged model.

    Args:
        run: The facts that its process told.
        sent: The arrays that it and its control runs left.
    """
    return BaselineMeasurement(
        run=run,
        gradient_peaks=_gradient_peaks(sent),
        finite=_finite(sent),
        noise=rounding_noise(sent, run.unit),
        sizes={
            name: {
                output: largest_magnitude(sent[f"{name}/{'/'.join(output)}"])
                for output in floating_outputs(sent)
                if f"{name}/{'/'.join(output)}" in sent
            }
            for name in WEIGHTS
        },
        input_responses={
            output: responses_to_inputs(sent, output) for output in floating_outputs(sent)
        },
        out_of_reach=not all(
            are_identical(below(sent, "given", part), below(sent, "other seed", part))
            for part in (*MODES, "loss")
        ),
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
    check_repeats(run)
    if run.signature == baseline.run.signature:
        _check_fit(kept, sent)
    return VariantMeasurement(
        run=run,
        gradient_peaks=_gradient_peaks(sent),
        finite=_finite(sent),
        differences={
            f"{name}/{part}": difference(
                below(kept, name, part),
                below(sent, name, part),
                _rounded_away(kept, name, part, baseline.run.unit),
            )
            for name in WEIGHTS
            for part in _compared(kept, name)
        },
        input_responses=input_responses(baseline, sent),
        parameter_responses=parameter_responses(baseline, kept, sent),
    )


def rounding_noise(sent: Leaves, unit: float) -> dict[str, dict[str, float]]:
    """Measure what moving everything by its own rounding does to each part, by weights.

    Args:
        sent: The arrays of a run as it is and of runs with everything moved.
        unit: Relative spacing of the coarsest floating type of the baseline.
    """
    return {
        name: {
            part: max(
                difference(
                    below(sent, name, part),
                    below(sent, f"shaken {salt}", name, part),
                    _rounded_away(sent, name, part, unit),
                ).relative
                for salt in SHAKES
            )
            for part in _compared(sent, name)
        }
        for name in WEIGHTS
    }


def _rounded_away(kept: Leaves, name: str, part: str, unit: float) -> float:
    """Size up to which an array of a part is nothing but rounding; 0.0 but for gradients.

    A gradient that is nothing beside the largest, such as that of the bias of attention's keys, is
    zero in exact arithmetic: its own rounding would drown the changes of all the others.
    """
    if part != "gradients":
        return 0.0
    largest = max(map(largest_magnitude, below(kept, name, part).values()), default=0.0)
    return ROUNDING_UNITS * unit * largest


def needs_further_draws(baseline: BaselineMeasurement, found: VariantMeasurement) -> bool:
    """Whether a random model shows no clear change, so that other draws may show one."""
    largest = max(item.relative for item in found.differences.values())
    return baseline.run.is_random and largest < CLEAR


def redrawn_differences(kept: Leaves, sent: Leaves) -> dict[str, float]:
    """Return the largest relative differences in training mode over further draws, by weights.

    Args:
        kept: Those of the baseline's `draw_again`.
        sent: Those of a variant's.
    """
    salts = list(map(str, range(1, SALTS + 1)))
    return {
        name: max(
            difference(
                below(kept, "redrawn", name, salt), below(sent, "redrawn", name, salt)
            ).relative
            for salt in salts
        )
        for name in WEIGHTS
    }


def below(arrays: Leaves, *places: str) -> Leaves:
    """Return the arrays whose names begin with some words, by the rest of their names."""
    prefix = "".join(f"{place}/" for place in places)
    return {
        path.removeprefix(prefix): leaf for path, leaf in arrays.items() if path.startswith(prefix)
    }


def _gradient_peaks(sent: Leaves) -> dict[str, dict[str, float]]:
    """Largest absolute gradient by parameter, by weights."""
    return {
        name: {
            path: float(peak.max(initial=0.0)) for path, peak in below(sent, name, "peaks").items()
        }
        for name in WEIGHTS
    }


def _finite(sent: Leaves) -> dict[str, bool]:
    """Whether all outputs are finite, by weights."""
    return {
        name: all(is_finite(below(sent, name, part)) for part in (*MODES, "loss"))
        for name in WEIGHTS
    }


def _compared(kept: Leaves, name: str) -> list[str]:
    """The parts of a run that are compared: those that the baseline has, and the inputs."""
    return [
        part
        for part in PART_WORDS
        if part in (*MODES, "inputs") or any(path.startswith(f"{name}/{part}/") for path in kept)
    ]


def check_repeats(run: ModelRun) -> None:
    """Refuse a model whose second run was not its first.

    Raises:
        Unmeasured: It is not deterministic, or did not say so of each part.
    """
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
