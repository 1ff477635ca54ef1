"""Measurements of one folder, baseline or variant, in a child process.

The baseline is measured once and leaves its tensors and outputs in a file. A variant is then built
with the same seed, gets the baseline's value for every tensor that survived, under the same name,
and is compared on the weights as given and on randomised ones, in evaluation and in training mode:

    baseline -> given weights, randomised weights, outputs, noise floor -> file
    variant  -> same inputs, same weights, same draws -> differences

A model may keep random values where they cannot be copied from. The baseline's control run (another
seed, values copied) shows that, and then no variant that shifts the random stream is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from antifragile.ablate.certify.arrays import load_arrays, save_arrays
from antifragile.ablate.certify.compare import PART_WORDS, are_identical, difference, is_finite
from antifragile.ablate.certify.measurements import BaselineMeasurement, VariantMeasurement
from antifragile.ablate.certify.weights import moved, randomised
from antifragile.ablate.frameworks.arrays import Leaves
from antifragile.ablate.frameworks.subject import (
    OTHER_SEED,
    CodeFields,
    Observation,
    Subject,
)
from antifragile.ablate.sandbox.loading import Refusal

WEIGHTS = ("given", "randomised")
SALTS = 32  # further draws tried before a random forward pass is said not to change
_CLEAR = 1e-3  # relative difference from which on no further draws are needed


def measure_baseline(code: CodeFields, results: str, keep_gradients: bool) -> BaselineMeasurement:
    """Measure the unchanged model; leave the arrays that variants are compared with in a file.

    Args:
        code: Fields of the baseline's `ModelCode`.
        results: Path of the file to write.
        keep_gradients: Keep the gradients as well (marked lines are judged by them).

    Raises:
        Refusal: It does not run, or is not deterministic.
    """
    subject = Subject(code)
    model, _, _ = subject.ready()
    given = subject.adapter.tensors(model)
    others = _other_weights(subject, given, subject.adapter.aliases(model))
    first = subject.observe(given)
    subject.is_random = subject.draws > 0
    _check_repeats(first, subject.observe(given))
    weights = {"given": given, "randomised": others}
    seen = {"given": first, "randomised": subject.observe(others, backward=keep_gradients)}
    redrawn = [
        subject.draw_again(others, salt) for salt in range(1, SALTS + 1) if subject.is_random
    ]
    _save(Path(results), weights, seen, redrawn, keep_gradients)
    return BaselineMeasurement(
        **_facts(first, seen),
        unit=first.unit,
        noise={
            name: _noise(subject, weights[name], seen[name], keep_gradients) for name in WEIGHTS
        },
        out_of_reach=bool(
            _unequal(first.outputs, subject.observe(given, OTHER_SEED, backward=False).outputs)
        ),
        is_random=subject.is_random,
        builds_late=subject.adapter.builds_late,
    )


def measure_variant(
    code: CodeFields, results: str, is_random: bool, kept_apart: Sequence[str]
) -> VariantMeasurement:
    """Measure one variant against the baseline's file.

    Args:
        code: Fields of the variant's `ModelCode`.
        results: The file that `measure_baseline` wrote.
        is_random: Whether the baseline draws numbers in its forward pass.
        kept_apart: Parameters that keep the variant's own values.

    Raises:
        Refusal: It does not run, or does not repeat.
    """
    subject = Subject(code)
    subject.is_random = is_random
    kept = load_arrays(Path(results))
    weights = {name: _below(kept, f"{name}/weights/") for name in WEIGHTS}
    weights["randomised"] = weights["given"] | weights["randomised"]
    for values in weights.values():
        for name in kept_apart:
            values.pop(name, None)
    compares_gradients = "keeps_gradients" in kept
    first = subject.observe(weights["given"])
    second = subject.observe(weights["randomised"], backward=compares_gradients)
    _check_repeats(first, subject.observe(weights["given"]))
    seen = {"given": first, "randomised": second}
    differences = {
        f"{name}/{part}": difference(_below(kept, f"{name}/{part}/"), leaves)
        for name in WEIGHTS
        for part, leaves in seen[name].parts.items()
        if part != "gradients" or compares_gradients
    }
    is_same = max(found.relative for found in differences.values()) < _CLEAR
    return VariantMeasurement(
        **_facts(first, seen),
        differences=differences,
        redrawn=_redrawn_difference(subject, weights["randomised"], kept) if is_same else 0.0,
    )


def _other_weights(subject: Subject, given: Leaves, aliases: Mapping[str, list[str]]) -> Leaves:
    """New values for every parameter, of both signs where the model stays finite with these."""
    others = given | randomised(given, aliases)
    seen = subject.observe(others, backward=False)
    is_usable = all(map(is_finite, seen.outputs.values()))
    return others if is_usable else given | randomised(given, aliases, both_signs=False)


def _facts(first: Observation, seen: Mapping[str, Observation]) -> dict[str, Any]:
    """The fields that the measurements of baseline and variants share."""
    return {
        "parameters": first.parameters,
        "signature": first.signature,
        "without_gradient": first.without_gradient,
        "stream_digest": first.stream_digest,
        "finite": {name: all(map(is_finite, seen[name].outputs.values())) for name in WEIGHTS},
    }


def _redrawn_difference(subject: Subject, values: Leaves, kept: Leaves) -> float:
    """The relative difference in training mode over further draws, until one is clear."""
    largest = 0.0
    for salt in range(1, SALTS + 1):
        expected = _below(kept, f"redrawn/{salt}/")
        if not expected or largest > _CLEAR:
            break
        largest = max(largest, difference(expected, subject.draw_again(values, salt)).relative)
    return largest


def _save(
    path: Path,
    weights: Mapping[str, Leaves],
    seen: Mapping[str, Observation],
    redrawn: list[Leaves],
    keep_gradients: bool,
) -> None:
    arrays: Leaves = {"keeps_gradients": np.zeros(0)} if keep_gradients else {}
    given = weights["given"]
    for name in WEIGHTS:
        changed = {k: v for k, v in weights[name].items() if name == "given" or v is not given[k]}
        arrays |= _under(f"{name}/weights/", changed)
        for part, leaves in seen[name].parts.items():
            if part != "gradients" or keep_gradients:
                arrays |= _under(f"{name}/{part}/", leaves)
    for salt, leaves in enumerate(redrawn, start=1):
        arrays |= _under(f"redrawn/{salt}/", leaves)
    save_arrays(path, arrays)


def _under(prefix: str, leaves: Leaves) -> Leaves:
    return {prefix + path: leaf for path, leaf in leaves.items()}


def _below(arrays: Leaves, prefix: str) -> Leaves:
    return {
        path.removeprefix(prefix): leaf for path, leaf in arrays.items() if path.startswith(prefix)
    }


def _noise(
    subject: Subject, values: Leaves, seen: Observation, with_gradients: bool
) -> dict[str, float]:
    """Relative response of each part when every parameter moves by one rounding unit."""
    shaken = moved(values, seen.unit, seen.parameters)
    parts = subject.observe(shaken, backward=with_gradients).parts
    return {
        part: difference(leaves, parts[part]).relative
        for part, leaves in seen.parts.items()
        if part != "gradients" or with_gradients
    }


def _check_repeats(first: Observation, second: Observation) -> None:
    unequal = _unequal(first.parts, second.parts)
    if unequal:
        parts = ", ".join(PART_WORDS[name] for name in unequal)
        raise Refusal(f"not deterministic: with the same seed and weights, {parts} differed")


def _unequal(one: Mapping[str, Leaves], other: Mapping[str, Leaves]) -> list[str]:
    """The parts that are not the same bit by bit."""
    return [name for name in one if not are_identical(one[name], other[name])]
