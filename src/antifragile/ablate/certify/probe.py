"""Runs of one folder, baseline or variant, in a child process: it runs and sends, never judges.

The baseline leaves its tensors in one file and its results in another. A variant is then built
with the same seed, gets the baseline's value for every tensor that survived, under the same name,
and runs on the weights as given and on randomised ones, in evaluation and in training mode:

    baseline -> given weights, randomised weights -> file of weights
    variant  -> same inputs, same weights, same draws -> file of results
    controls -> the baseline moved by its rounding, and from another seed -> file of results

What a child sends are arrays in such a file and a `ModelRun` of plain facts; `measure` compares
them in a process that never imports a model. So a model can lie about its own results, since it
computes them anyway, but it has no hand in what they are compared with, in the comparison or in
the verdict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from antifragile.ablate.certify.arrays import load_arrays, save_arrays
from antifragile.ablate.certify.compare import are_identical, is_finite, moves_much
from antifragile.ablate.certify.measurements import BaselineRun, ModelRun
from antifragile.ablate.certify.weights import randomised, shaken
from antifragile.ablate.frameworks.arrays import Array, Leaves
from antifragile.ablate.frameworks.other_inputs import CHOICES, NO_INPUTS
from antifragile.ablate.frameworks.subject import (
    MODES,
    OTHER_SEED,
    CodeFields,
    Observation,
    Subject,
)
from antifragile.ablate.sandbox.loading import Refusal

WEIGHTS = ("given", "randomised")
_INITIAL = "initial/"  # begins the names of initial values, each drawn apart from the others
OTHER_INPUTS = "other inputs/"  # begins the names of outputs on other inputs
SHAKES = ("1", "2")  # runs in which all is moved by its own rounding: salts
SALTS = 32  # further draws tried before a random forward pass is said not to change


def run_baseline(
    code: CodeFields,
    weights_file: str,
    results: str,
    keep_gradients: bool,
    own_values: Sequence[str] = (),
) -> BaselineRun:
    """Run the unchanged model; leave its weights and its results in files.

    Args:
        code: Fields of the baseline's `ModelCode`.
        weights_file: Path of the file of weights to write.
        results: Path of the file of results to write.
        keep_gradients: Send whole gradients (marked lines are judged by them).
        own_values: Parameters whose initial values some variant changes.

    Raises:
        Refusal: It does not run.
    """
    subject = Subject(code)
    subject.is_counting = True
    initial = _initial_values(subject, own_values)
    model, _, _ = subject.ready()
    given = subject.adapter.tensors(model)
    aliases = subject.adapter.aliases(model)
    new = _new_weights(subject, given, aliases)
    weights = {"given": given, "randomised": given | new}
    first = subject.observe(given)
    subject.is_random = subject.draws > 0
    again = subject.observe(given)
    seen = {"given": first, "randomised": subject.observe(weights["randomised"])}
    choice, others = _first_that_runs(subject, weights)
    counts, subject.is_counting = subject.counts, False
    weights_sent = _under("given/", given) | _under("randomised/", new)
    save_arrays(Path(weights_file), weights_sent | _under(_INITIAL, initial))
    save_arrays(Path(results), _results(seen, keep_gradients) | others)
    return BaselineRun(
        **_facts(first, again),
        counts=_same_each_time(counts),
        unit=first.unit,
        is_random=subject.is_random,
        builds_late=subject.adapter.builds_late,
        other_inputs=choice,
        keeps_state=subject.keeps_state(given),
        aliases={name: paths for name, paths in aliases.items() if len(paths) > 1},
    )


def run_controls(
    code: CodeFields, weights_file: str, results: str, is_random: bool, keep_gradients: bool
) -> int:
    """Run the unchanged model with everything moved by its rounding, and from another seed.

    Args:
        code: Fields of the baseline's `ModelCode`.
        weights_file: The file of weights that `run_baseline` wrote.
        results: Path of the file of results to write.
        is_random: Whether the baseline draws numbers in its forward pass.
        keep_gradients: Send whole gradients.

    Returns:
        Number of runs with everything moved, for each set of weights.
    """
    subject = Subject(code)
    subject.is_random = is_random
    weights = _weights(weights_file)
    other = subject.observe(weights["given"], OTHER_SEED, backward=False)
    sent = _shaken_runs(subject, weights, other, keep_gradients)
    save_arrays(Path(results), sent | _parts("other seed", other, with_gradients=False))
    return len(SHAKES)


def run_variant(
    code: CodeFields,
    weights_file: str,
    results: str,
    is_random: bool,
    keep_gradients: bool,
    other_inputs: str,
    kept_apart: Sequence[str],
    own_values: Sequence[str] = (),
) -> ModelRun:
    """Run one variant on the baseline's weights; leave its results in a file.

    Args:
        code: Fields of the variant's `ModelCode`.
        weights_file: The file of weights that `run_baseline` wrote.
        results: Path of the file of results to write.
        is_random: Whether the baseline draws numbers in its forward pass.
        keep_gradients: Send whole gradients.
        other_inputs: The inputs that get other values in one more run, as in `BaselineRun`.
        kept_apart: Parameters that keep the variant's own values.
        own_values: Parameters that do so where these are others than the baseline's.

    Raises:
        Refusal: It does not run.
    """
    subject = Subject(code)
    subject.is_random = is_random
    weights, apart = _weights_apart(subject, weights_file, kept_apart, own_values)
    subject.is_counting = True
    first = subject.observe(weights["given"])
    subject.is_counting = False
    seen = {"given": first, "randomised": subject.observe(weights["randomised"])}
    again = subject.observe(weights["given"])
    sent = _results(seen, keep_gradients)
    if other_inputs != NO_INPUTS:
        try:
            sent |= _some_on_other_inputs(subject, weights, other_inputs, sent)
        except Refusal as reason:
            raise Refusal(f"on other inputs of the same shapes, {reason}") from reason
    save_arrays(Path(results), sent)
    return ModelRun(**_facts(first, again), kept_apart=apart, counts=subject.counts[0])


def _same_each_time(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The counts that neither weights nor inputs decide."""
    first, *others = counts
    return {
        name: number
        for name, number in first.items()
        if all(other.get(name) == number for other in others)
    }


def _new_weights(subject: Subject, given: Leaves, aliases: Mapping[str, list[str]]) -> Leaves:
    """New values for every parameter, of both signs where the model stays finite with these."""
    new = randomised(given, aliases)
    seen = subject.observe(given | new, backward=False)
    is_usable = all(map(is_finite, seen.outputs.values()))
    return new if is_usable else randomised(given, aliases, both_signs=False)


def draw_again(
    code: CodeFields,
    weights_file: str,
    results: str,
    kept_apart: Sequence[str],
    own_values: Sequence[str] = (),
) -> int:
    """Run baseline or variant in training mode with further draws; leave the outputs in a file.

    Args:
        code: Fields of the variant's `ModelCode`.
        weights_file: The file of weights that `run_baseline` wrote.
        results: Path of the file of results to write.
        kept_apart: Parameters that keep the variant's own values.
        own_values: Parameters that do so where these are others than the baseline's.

    Returns:
        Number of draws.
    """
    subject = Subject(code)
    weights, _ = _weights_apart(subject, weights_file, kept_apart, own_values)
    save_arrays(Path(results), _further_draws(subject, weights))
    return SALTS


def run_shaken(
    code: CodeFields,
    weights_file: str,
    results: str,
    is_random: bool,
    keep_gradients: bool,
    kept_apart: Sequence[str],
    own_values: Sequence[str] = (),
) -> int:
    """Run one variant as it is, and with everything moved by its own rounding.

    Args:
        code: Fields of the variant's `ModelCode`.
        weights_file: The file of weights that `run_baseline` wrote.
        results: Path of the file of results to write.
        is_random: Whether the baseline draws numbers in its forward pass.
        keep_gradients: Send whole gradients.
        kept_apart: Parameters that keep the variant's own values.
        own_values: Parameters that do so where these are others than the baseline's.

    Returns:
        Number of runs with everything moved, for each set of weights.
    """
    subject = Subject(code)
    subject.is_random = is_random
    weights, _ = _weights_apart(subject, weights_file, kept_apart, own_values)
    seen = {
        name: subject.observe(values, backward=keep_gradients) for name, values in weights.items()
    }
    sent = _shaken_runs(subject, weights, seen["given"], keep_gradients)
    for name, found in seen.items():
        sent |= _parts(name, found, keep_gradients)
    save_arrays(Path(results), sent)
    return len(SHAKES)


def _initial_values(subject: Subject, names: Sequence[str]) -> Leaves:
    """Values that parameters are built with; none where draws cannot be kept apart."""
    if not names:
        return {}
    try:
        found = subject.initial_values()
    except Refusal:
        return {}
    return {name: found[name] for name in names if name in found}


def _changed_values(subject: Subject, weights_file: str, names: Sequence[str]) -> list[str]:
    """Name the parameters that are built with others than the baseline's initial values."""
    if not names:
        return []
    before = _below(load_arrays(Path(weights_file)), _INITIAL)
    now = _initial_values(subject, names)
    return [
        name
        for name in names
        if name not in before or name not in now or not _is_same(before[name], now[name])
    ]


def _weights_apart(
    subject: Subject, weights_file: str, kept_apart: Sequence[str], own_values: Sequence[str]
) -> tuple[dict[str, Leaves], list[str]]:
    """The weights for a variant, and the parameters that keep its own values, left out there."""
    apart = [*kept_apart, *_changed_values(subject, weights_file, own_values)]
    return _weights(weights_file, apart), apart


def _is_same(one: Array, other: Array) -> bool:
    return are_identical({"": one}, {"": other})


def _weights(path: str, kept_apart: Sequence[str] = ()) -> dict[str, Leaves]:
    kept = load_arrays(Path(path))
    given, new = (_below(kept, f"{name}/", kept_apart) for name in WEIGHTS)
    return {"given": given, "randomised": given | new}


def _facts(first: Observation, again: Observation) -> dict[str, Any]:
    """The fields that the records of baseline and variants share."""
    return {
        "parameters": first.parameters,
        "signature": first.signature,
        "without_gradient": first.without_gradient,
        "stream_digest": first.stream_digest,
        "repeats": {
            part: [_digest(leaves), _digest(again.parts[part])]
            for part, leaves in first.parts.items()
        },
    }


def _results(seen: Mapping[str, Observation], with_gradients: bool) -> Leaves:
    """The parts of each observation, "given/training/...", and the peaks of its gradients."""
    sent: Leaves = {}
    for name, found in seen.items():
        sent |= _parts(name, found, with_gradients)
        gradients = found.parts["gradients"].items()
        peaks = {path: _peak(array) for path, array in gradients if path in found.parameters}
        sent |= _under(f"{name}/peaks/", peaks)
    return sent


def _shaken_runs(
    subject: Subject,
    weights: Mapping[str, Leaves],
    seen: Observation,
    with_gradients: bool,
) -> Leaves:
    """The results with weights, inputs and all that is computed moved by one rounding unit.

    `seen` is any run of the model: it tells the unit, and which tensors are parameters.
    """
    sent: Leaves = {}
    for name, given in weights.items():
        for salt in SHAKES:
            values = shaken(given, seen.unit, seen.parameters, int(salt))
            try:
                run = subject.observe(values, backward=with_gradients, rounding=int(salt))
            except Refusal:  # it checks its own results
                run = subject.observe(values, backward=with_gradients)
            sent |= _parts(f"shaken {salt}/{name}", run, with_gradients)
    return sent


def _first_that_runs(subject: Subject, weights: Mapping[str, Leaves]) -> tuple[str, Leaves]:
    """The widest choice of inputs whose values can be others, and the outputs then."""
    for choice in CHOICES:
        try:
            return choice, _on_other_inputs(subject, weights, choice)
        except Refusal:  # the model checks its inputs
            continue
    return NO_INPUTS, {}


def _on_other_inputs(
    subject: Subject, weights: Mapping[str, Leaves], choice: str, names: Sequence[str] = WEIGHTS
) -> Leaves:
    sent: Leaves = {}
    for name in names:
        observed = subject.observe(weights[name], backward=False, other_inputs=choice)
        sent |= _parts(f"{OTHER_INPUTS}{name}", observed, with_gradients=False)
    return sent


def _some_on_other_inputs(
    subject: Subject, weights: Mapping[str, Leaves], choice: str, seen: Leaves
) -> Leaves:
    """The outputs on other inputs: of the given weights alone where all changed much."""
    sent = _on_other_inputs(subject, weights, choice, WEIGHTS[:1])
    same = [
        path
        for path, leaf in sent.items()
        if path.split("/")[2] in MODES
        and not _has_moved(seen.get(path.removeprefix(OTHER_INPUTS)), leaf)
    ]
    return sent | _on_other_inputs(subject, weights, choice, WEIGHTS[1:]) if same else sent


def _further_draws(subject: Subject, weights: Mapping[str, Leaves]) -> Leaves:
    sent: Leaves = {}
    for name, values in weights.items():
        for salt in range(1, SALTS + 1):
            sent |= _under(f"redrawn/{name}/{salt}/", subject.draw_again(values, salt))
    return sent


def _parts(prefix: str, found: Observation, with_gradients: bool) -> Leaves:
    sent: Leaves = {}
    for part, leaves in found.parts.items():
        if part != "gradients" or with_gradients:
            sent |= _under(f"{prefix}/{part}/", leaves)
    return sent


def _has_moved(one: Array | None, other: Array) -> bool:
    return one is not None and moves_much(one, other)


def _peak(gradient: Array) -> Array:
    return np.asarray(np.abs(gradient).max(initial=0.0), np.float64)


def _digest(leaves: Leaves) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path, leaf in leaves.items():
        digest.update(f"{path} {leaf.dtype.str} {leaf.shape}\n".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()


def _under(prefix: str, leaves: Leaves) -> Leaves:
    return {prefix + path: leaf for path, leaf in leaves.items()}


def _below(arrays: Leaves, prefix: str, left_out: Sequence[str] = ()) -> Leaves:
    found = {
        path.removeprefix(prefix): leaf for path, leaf in arrays.items() if path.startswith(prefix)
    }
    return {path: leaf for path, leaf in found.items() if path not in left_out}
