"""A trial's state in one safetensors file: the LKG's weights, and JSON in the file's metadata.

Where a mode keeps more - the best state while it is not the LKG, the best recent one, the moments
of an optimizer that is not reset - these are further tensors, ``best/layers.0.weight`` and so on,
and the header has their counts. The files of the paper's modes are as they always were.

One file, written to a temporary name and renamed, so a kill leaves the old state or the new.
Nothing is pickled: reading a checkpoint can run no code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from antifragile._files import write_atomically
from antifragile._records import RecordError, from_json
from antifragile.config.specs.trial import TrialSpec
from antifragile.engine.moments import Moments
from antifragile.engine.policies import KeptStates, StateSlot, filled_slots
from antifragile.engine.position import Position
from antifragile.engine.trial import TrialState
from antifragile.errors import CheckpointError
from antifragile.model.networks import Weights

_FORMAT = "antifragile checkpoint 1"


def trial_fingerprint(spec: TrialSpec, data_sha256: str, *, any_mode: bool = False) -> str:
    """Identify what a state belongs to: everything in the spec but the number of meta-loops.

    Args:
        spec: The trial.
        data_sha256: Checksum of the data set's content.
        any_mode: Leave the mode out, for states that another mode may continue.
    """
    identity = {
        "dataset": data_sha256,
        "architecture": spec.architecture.name,
        "mode": None if any_mode else spec.mode,
        "trial": spec.trial,
        "seed": spec.seed,
        "pairing": str(spec.pairing),
        "training": spec.training.to_mapping(),
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def save_checkpoint(
    path: Path,
    state: TrialState,
    *,
    fingerprint: str,
    notes: dict[str, Any] | None = None,
    durable: bool = True,
) -> None:
    """Write the state atomically.

    Args:
        path: The ``.safetensors`` file.
        state: The state to keep.
        fingerprint: Identity of its trial (`trial_fingerprint`).
        notes: Anything JSON can hold, given back by `load_checkpoint`.
        durable: Wait until it is on the disk; without it, a power cut may damage the file.

    Raises:
        WorldError: The file cannot be written.
    """
    header = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        **Position.of(state).to_header(),
        "notes": notes or {},
    }
    tensors = {
        f"{part}/{name}" if part else name: value.detach().cpu()
        for part, values in _parts(state).items()
        for name, value in values.items()
    }
    header["sha256"] = _digest(header, tensors)
    write_atomically(
        path, save(tensors, metadata={"antifragile": json.dumps(header)}), durable=durable
    )


def load_checkpoint(
    path: Path, *, fingerprint: str | None, layer_sizes: Sequence[int] | None = None
) -> tuple[TrialState, dict[str, Any]]:
    """Read a state and its notes back.

    Args:
        path: A file by `save_checkpoint`.
        fingerprint: Identity of the trial it must belong to, or None to accept any.
        layer_sizes: Inputs, widths of linear layers and classes of the network that the weights
            must fit, or None to accept any.

    Raises:
        CheckpointError: Missing, damaged, not a checkpoint, of another trial or network, or with
            weights that are not finite.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror}.") from error
    header = _read_header(content, path)
    if fingerprint is not None and header.get("fingerprint") != fingerprint:
        raise CheckpointError(
            f"checkpoint {path} belongs to another trial: its data set, architecture, seed or "
            "training options differ; give the same ones, or another folder."
        )
    try:
        tensors = load(content)
        claimed = header.pop("sha256", None)
        if claimed != _digest(header, tensors):
            raise CheckpointError(
                f"checkpoint {path} is damaged: its checksum is wrong; delete it."
            )
        position: Position = from_json(Position, header)
        position.check()
        notes = header.get("notes")
        if not isinstance(notes, dict):
            raise RecordError("has no notes")
    except (SafetensorError, ValueError, TypeError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error}; delete it.") from error
    parts = _split(tensors)
    for part in _parts_at(position):
        _check_weights(parts.get(part, {}), layer_sizes, path, part)
    weights = {slot: parts[part] for slot, part in _SLOT_PARTS.items() if part in parts}
    filled = filled_slots(position.progress)
    kept = KeptStates(
        progress=position.progress,
        weights={slot: value for slot, value in weights.items() if slot in filled},
    )
    steps = None if position.further is None else position.further.steps
    moments = (
        None if steps is None else Moments(first=parts[_FIRST], second=parts[_SECOND], steps=steps)
    )
    state = TrialState(kept=kept, final_correct=position.final_correct, moments=moments)
    return state, notes


_FIRST, _SECOND = "first-moment", "second-moment"
_SLOT_PARTS = {StateSlot.LKG: "", StateSlot.BEST: "best", StateSlot.RECENT: "recent"}


def _parts(state: TrialState) -> dict[str, Weights]:
    """Return the tensors of a state by the part of its file."""
    parts = {_SLOT_PARTS[slot]: weights for slot, weights in state.kept.weights.items()}
    if state.moments is not None:
        parts |= {_FIRST: state.moments.first, _SECOND: state.moments.second}
    return parts


def _parts_at(position: Position) -> list[str]:
    """List the parts that a file with this header must have."""
    filled = filled_slots(position.progress)
    parts = [part for slot, part in _SLOT_PARTS.items() if slot in filled]
    has_moments = position.further is not None and position.further.steps is not None
    return [*parts, _FIRST, _SECOND] if has_moments else parts


def _split(tensors: Weights) -> dict[str, dict[str, torch.Tensor]]:
    """Sort tensors by part; names with a part that is not ours stay whole, with the LKG's."""
    parts: dict[str, dict[str, torch.Tensor]] = {"": {}}
    for name, value in tensors.items():
        part, slash, rest = name.partition("/")
        is_ours = slash and part in (*_SLOT_PARTS.values(), _FIRST, _SECOND)
        parts.setdefault(part if is_ours else "", {})[rest if is_ours else name] = value
    return parts


def _check_weights(
    weights: Weights, layer_sizes: Sequence[int] | None, path: Path, part: str
) -> None:
    """Refuse the weights of another network, and those that compute nothing."""
    if not weights:
        raise CheckpointError(
            f"checkpoint {path} lacks the weights of {part or 'the LKG'}; give another folder."
        )
    if layer_sizes is not None:
        shapes = {name: tuple(value.shape) for name, value in weights.items()}
        expected = _shapes(layer_sizes)
        if differing := sorted(
            name for name in {*shapes, *expected} if shapes.get(name) != expected.get(name)
        ):
            name = differing[0]
            raise CheckpointError(
                f"checkpoint {path} holds the weights of another network: {name!r:.80} is "
                f"{shapes.get(name, 'missing')}, expected {expected.get(name, 'nothing')}; give "
                "another folder."
            )
        if wrong := [name for name, value in weights.items() if value.dtype != torch.float32]:
            raise CheckpointError(
                f"checkpoint {path}: {wrong[0]!r:.80} is {weights[wrong[0]].dtype}, expected "
                "torch.float32; give another folder."
            )
    for name, value in weights.items():
        if not bool(value.isfinite().all()):
            raise CheckpointError(
                f"checkpoint {path}: {name!r:.80} holds values that are not finite, from which no "
                "training goes on; start anew in another folder, with a smaller learning rate if "
                "it diverged."
            )


def _shapes(layer_sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters of a `LinearStack`, by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(layer_sizes)):
        shapes[f"layers.{layer}.weight"] = (outputs, inputs)
        shapes[f"layers.{layer}.bias"] = (outputs,)
    return shapes


def _read_header(content: bytes, path: Path) -> dict[str, Any]:
    try:
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        header: dict[str, Any] = json.loads(metadata["antifragile"])
        known = header.get("format")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not an antifragile checkpoint, or is damaged; give a file that "
            "'antifragile train' or a study wrote."
        ) from error
    if known != _FORMAT:
        raise CheckpointError(
            f"checkpoint {path} has format {known!r}, this program reads {_FORMAT!r}."
        )
    return header


def _digest(header: Mapping[str, Any], tensors: Weights) -> str:
    """SHA-256 of the header without its own digest, and of every tensor's bytes."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()
