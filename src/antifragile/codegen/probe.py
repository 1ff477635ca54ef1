"""Running one folder (baseline or variant) in a child and measuring what certification asks.

The baseline is measured once and leaves its tensors and outputs in a file. A variant is then built
with the same seed, gets the baseline's value for every tensor that survived, under the same name,
and is compared on the weights as given and on randomised ones, in evaluation and in training mode:

    baseline -> given weights, randomised weights, outputs, noise floor -> file
    variant  -> same inputs, same weights, same draws -> differences

Where values cannot be copied because a model keeps random state out of reach, the baseline's
control run (another seed, values copied) shows it, and no variant that shifts the stream is judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from antifragile.codegen import compare
from antifragile.codegen.adapters import Adapter, open_adapter
from antifragile.codegen.arrays import load_arrays, save_arrays
from antifragile.codegen.loading import Refusal, hide, load_function, stage

Leaves = compare.Leaves
WEIGHTS = ("given", "randomised")
MODES = ("evaluation", "training")
SALTS = 32  # further draws tried before a random forward pass is said not to change
_CLEAR = 1e-3  # relative difference from which on no further draws are needed
_SEED, _OTHER_SEED, _INPUT_SEED, _RUN_SEED = 20, 21, 22, 23


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One model on one set of weights: what came out, by mode."""

    outputs: dict[str, Leaves]  # by mode; "loss" where the user named a step
    signature: list[str]
    gradients: dict[str, np.ndarray[Any, Any] | None]
    inputs: Leaves
    parameters: dict[str, int]
    stream_digest: str  # after build
    unit: float

    def digest(self) -> dict[str, str]:
        """A hash for each part, to tell runs apart bit by bit."""
        gradients = {k: v for k, v in self.gradients.items() if v is not None}
        parts = {"the inputs": self.inputs, **self.outputs, "the gradients": gradients}
        return {name: _digest(leaves) for name, leaves in parts.items()}


class Subject:
    """The user's functions in one folder, and runs of the model they make."""

    def __init__(
        self, folder: str, entries: Mapping[str, Any], framework: str, hidden: Sequence[str]
    ) -> None:
        self.adapter: Adapter = open_adapter(framework, folder=folder)
        hide(hidden)
        self._names = {
            key: f"{entry[1]}() of {entry[0]}" for key, entry in entries.items() if entry
        }
        self._functions = {key: load_function(*entry) for key, entry in entries.items() if entry}
        self.is_random = True  # until a run has shown that nothing is drawn
        self.draws = 0

    @contextmanager
    def drawing(self, salt: int = 0) -> Iterator[None]:
        """Draws inside do not depend on earlier ones."""
        if not self.is_random:
            yield
            return
        with self.adapter.stream_independent(salt) as draws:
            yield
        self.draws += draws.count

    def build(self, seed: int = _SEED) -> Any:
        """A new model."""
        self.adapter.seed(seed)
        with stage(self._names["build"]):
            model = self._functions["build"]()
        self.adapter.check(model, self._names["build"])
        return model

    def inputs(self) -> list[Any]:
        """The positional inputs."""
        name = self._names["inputs"]
        self.adapter.seed(_INPUT_SEED)
        with stage(name):
            found = self._functions["inputs"]()
        if not isinstance(found, (tuple, list)):
            kind = type(found).__name__
            raise Refusal(f"{name} must return the tuple of positional inputs; got a {kind}")
        return list(found)

    def ready(self, seed: int = _SEED) -> tuple[Any, str, list[Any]]:
        """A new model with all its parameters, where the streams stand behind it, and inputs."""
        model = self.build(seed)
        stream = self.adapter.stream_digest()
        inputs = self.inputs()
        self.adapter.seed(seed)
        with stage("the first forward pass"):
            self.adapter.prepare(model, inputs)
        self.adapter.seed(_RUN_SEED)
        return model, stream, inputs

    def observe(self, values: Mapping[str, np.ndarray[Any, Any]], seed: int = _SEED) -> Observation:
        """Build, copy values in, run forward in both modes and backward."""
        adapter = self.adapter
        model, stream, inputs = self.ready(seed)
        adapter.set_tensors(model, values)
        with self.drawing():
            with stage("the forward pass in evaluation mode"):
                evaluated = adapter.evaluate(model, adapter.copy_inputs(inputs))
            step = self._functions.get("step")
            trained, loss, gradients = adapter.train(
                model, inputs, step, self._names.get("step", "")
            )
        outputs = {MODES[0]: adapter.leaves(evaluated), MODES[1]: adapter.leaves(trained)}
        if step is not None:
            outputs["loss"] = adapter.leaves(loss)
        return Observation(
            outputs=outputs,
            signature=adapter.signature((evaluated, trained)),
            gradients=gradients,
            inputs=adapter.leaves(inputs),
            parameters=adapter.parameters(model),
            stream_digest=stream,
            unit=adapter.rounding_unit(model, (evaluated, trained)),
        )

    def draw_again(self, values: Mapping[str, np.ndarray[Any, Any]], salt: int) -> Leaves:
        """The training-mode output with other draws."""
        model, _, inputs = self.ready()
        self.adapter.set_tensors(model, values)
        with self.drawing(salt):
            return self.adapter.leaves(self.adapter.forward_in_training(model, inputs))


def measure_baseline(
    folder: str,
    entries: dict[str, Any],
    framework: str,
    hidden: list[str],
    results: str,
    keep_gradients: bool,
) -> dict[str, Any]:
    """Measure the unchanged model and leave what variants are compared with in a file.

    Args:
        folder: The baseline's folder.
        entries: ``build``, ``inputs`` and ``step``: [file, function, module name] or None.
        framework: Name of the adapter.
        hidden: Packages that the user's code must not need.
        results: Path of the file to write.
        keep_gradients: Keep the gradients as well (marked lines are judged by them).

    Raises:
        Refusal: It does not run, or is not deterministic.
    """
    subject = Subject(folder, entries, framework, hidden)
    model, _, _ = subject.ready()
    given = subject.adapter.tensors(model)
    randomised = given | _randomised(given, subject.adapter.aliases(model))
    first = subject.observe(given)
    subject.is_random = subject.draws > 0
    _check_repeats(first, subject.observe(given))
    weights = {"given": given, "randomised": randomised}
    seen = {"given": first, "randomised": subject.observe(randomised)}
    redrawn = [
        subject.draw_again(randomised, salt) for salt in range(1, SALTS + 1) if subject.is_random
    ]
    _save(Path(results), weights, seen, redrawn, keep_gradients)
    return {
        "parameters": first.parameters,
        "signature": first.signature,
        "without_gradient": _without_gradient(first),
        "unit": first.unit,
        "noise": {name: _noise(subject, weights[name], seen[name]) for name in WEIGHTS},
        "out_of_reach": _digest_outputs(subject.observe(given, _OTHER_SEED))
        != _digest_outputs(first),
        "stream_digest": first.stream_digest,
        "finite": {name: _finite(seen[name]) for name in WEIGHTS},
        "is_random": subject.is_random,
        "builds_late": subject.adapter.builds_late,
    }


def measure_variant(
    folder: str,
    entries: dict[str, Any],
    framework: str,
    hidden: list[str],
    results: str,
    is_random: bool,
    kept_apart: list[str],
) -> dict[str, Any]:
    """Measure one variant against the baseline's file.

    Args:
        folder: The variant's folder.
        entries: As for the baseline.
        framework: Name of the adapter.
        hidden: Packages that the user's code must not need.
        results: The file that `measure_baseline` wrote.
        is_random: Whether the baseline draws numbers in its forward pass.
        kept_apart: Parameters that keep the variant's own values.

    Raises:
        Refusal: It does not run, or does not repeat.
    """
    subject = Subject(folder, entries, framework, hidden)
    subject.is_random = is_random
    kept = load_arrays(Path(results))
    weights = {name: _below(kept, f"{name}/weights/") for name in WEIGHTS}
    weights["randomised"] = weights["given"] | weights["randomised"]
    for values in weights.values():
        for name in kept_apart:
            values.pop(name, None)
    seen = {name: subject.observe(weights[name]) for name in WEIGHTS}
    first = seen["given"]
    _check_repeats(first, subject.observe(weights["given"]))
    differences = {
        f"{name}/{part}": asdict(compare.difference(_below(kept, f"{name}/{part}/"), leaves))
        for name in WEIGHTS
        for part, leaves in _parts(seen[name]).items()
        if part != "gradients" or "keeps_gradients" in kept
    }
    is_same = max(item["relative"] for item in differences.values()) < _CLEAR
    return {
        "parameters": first.parameters,
        "signature": first.signature,
        "without_gradient": _without_gradient(first),
        "stream_digest": first.stream_digest,
        "finite": {name: _finite(seen[name]) for name in WEIGHTS},
        "differences": differences,
        "redrawn": _redrawn_difference(subject, weights["randomised"], kept) if is_same else 0.0,
    }


def _redrawn_difference(subject: Subject, values: Leaves, kept: Leaves) -> float:
    """The relative difference in training mode over further draws, until one is clear."""
    largest = 0.0
    for salt in range(1, SALTS + 1):
        expected = _below(kept, f"redrawn/{salt}/")
        if not expected or largest > _CLEAR:
            break
        found = compare.difference(expected, subject.draw_again(values, salt))
        largest = max(largest, found.relative)
    return largest


def _parts(seen: Observation) -> dict[str, Leaves]:
    gradients = {name: value for name, value in seen.gradients.items() if value is not None}
    return {**seen.outputs, "inputs": seen.inputs, "gradients": gradients}


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
        for part, leaves in _parts(seen[name]).items():
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


def _randomised(given: Leaves, aliases: Mapping[str, list[str]]) -> Leaves:
    """New values for every parameter, of the same mean and spread; constants get a spread."""
    values: Leaves = {}
    for name, paths in aliases.items():
        old = given[name]
        if old.dtype.kind not in "fc" or old.size == 0:
            continue
        seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
        noise = np.random.Generator(np.random.Philox(seed)).standard_normal(old.shape, np.float32)
        new = (old.mean() + _spread(old) * noise).astype(old.dtype)
        values |= dict.fromkeys(paths, new)
    return values


def _spread(values: np.ndarray[Any, Any]) -> float:
    spread = float(np.std(values))
    if spread > 0:
        return spread
    fan_in = values.size / values.shape[0] if values.ndim > 1 else 100.0
    return float(fan_in**-0.5)  # 0.1 for vectors


def _noise(subject: Subject, values: Leaves, seen: Observation) -> dict[str, float]:
    """How far each part moves when every parameter moves by one rounding unit."""
    generator = np.random.Generator(np.random.Philox(_SEED))
    moved = {
        path: value
        * (1 + seen.unit * generator.choice((-1.0, 1.0), value.shape)).astype(value.dtype)
        if value.dtype.kind == "f" and path in seen.parameters
        else value
        for path, value in values.items()
    }
    parts = _parts(subject.observe(moved))
    return {
        part: compare.difference(leaves, parts[part]).relative
        for part, leaves in _parts(seen).items()
    }


def _check_repeats(first: Observation, second: Observation) -> None:
    one, other = first.digest(), second.digest()
    unequal = [name for name in one if one[name] != other[name]]
    if unequal:
        words = {**{mode: f"the output in {mode} mode" for mode in MODES}, "loss": "the loss"}
        parts = ", ".join(words.get(name, name) for name in unequal)
        raise Refusal(f"not deterministic: with the same seed and weights, {parts} differed")


def _without_gradient(seen: Observation) -> list[str]:
    return sorted(name for name in seen.parameters if seen.gradients.get(name) is None)


def _finite(seen: Observation) -> bool:
    return all(compare.is_finite(leaves) for leaves in seen.outputs.values())


def _digest(leaves: Leaves) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path, leaf in sorted(leaves.items()):
        digest.update(f"{path} {leaf.dtype} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def _digest_outputs(seen: Observation) -> list[str]:
    return [_digest(leaves) for leaves in seen.outputs.values()]
