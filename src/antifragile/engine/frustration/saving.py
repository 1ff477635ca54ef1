"""A Frustration Engine in one safetensors file: tensors, and JSON in the file's metadata.

A trainer's callback has the same content, without the optimizer, which the trainer saves itself;
it travels as a file or inside the trainer's own checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from antifragile._files import write_atomically
from antifragile._records import RecordError, from_json, to_json
from antifragile.engine.frustration.candidate import ModelCandidate
from antifragile.engine.frustration.generators import generator_states, restore_generators
from antifragile.engine.frustration.nested import with_tensors, without_tensors
from antifragile.engine.frustration.records import SavedEpochs, SavedPosition
from antifragile.engine.policies import Progress, StateSlot, filled_slots
from antifragile.errors import CheckpointError
from antifragile.model.units.watching.prepare import Inputs

_FORMAT = "antifragile frustration engine 1"


@dataclass(frozen=True)
class PackedEngine:
    """Everything to be saved: what JSON can hold, and tensors by name."""

    header: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class SavedEngine:
    """Saved content that was read.

    Args:
        source: The file, for messages.
        position: Everything that is no tensor.
        tensors: By name.
        generators: The part of the random generators that JSON can hold.
        optimizer: Its state without the tensors; None for none.
        epochs: The meta-loops as a trainer's epochs; None for a run without a trainer.
        call: The call that shows the model's units, without the tensors; None if unknown.
    """

    source: str
    position: SavedPosition
    tensors: Mapping[str, Tensor]
    generators: Mapping[str, Any]
    optimizer: Mapping[str, Any] | None
    epochs: SavedEpochs | None
    call: Mapping[str, Any] | None


def pack_engine(
    candidate: ModelCandidate,
    seed: int,
    progress: Progress[float] | None,
    units: Mapping[str, int],
    epochs: SavedEpochs | None = None,
) -> PackedEngine:
    """Collect what is to be saved; tensors are not copied.

    Args:
        candidate: The model with its kept states, its mode and its optimizer.
        seed: Seed of the ablations.
        progress: Scores and counts; None before the first meta-loop has ended.
        units: Number of units of every layer that the mode hits.
        epochs: Where a trainer's epochs are, which saves the optimizers itself; None for none.
    """
    tensors = {
        f"{slot}/{name}": value
        for slot in candidate.slots.filled
        for name, value in candidate.slots.tensors(slot).items()
    }
    training = candidate.training
    random_tensors, random_values = generator_states()
    tensors |= {f"generators/{name}": value for name, value in random_tensors.items()}
    optimizer = None
    if epochs is None and training.optimizers:
        memory: dict[str, Tensor] = {}
        [own] = training.optimizers
        optimizer = without_tensors(own.state_dict(), memory, "optimizer")
        tensors |= memory
    position = SavedPosition(
        mode=candidate.mode.name,
        seed=seed,
        minimize=training.minimize,
        layers=None if training.layers is None else tuple(training.layers),
        weight_decay=training.weight_decay,
        dropout=training.dropout,
        progress=progress,
        units=dict(units),
    )
    header = {
        "format": _FORMAT,
        "position": to_json(position),
        "generators": random_values,
        "optimizer": optimizer,
    }
    if epochs is not None:
        header["epochs"] = to_json(epochs)
        header["call"] = _packed_call(candidate, tensors)
    return PackedEngine(header, {name: value.detach() for name, value in tensors.items()})


def write_engine(path: Path, packed: PackedEngine) -> None:
    """Write an engine's file in one step."""
    stored = {name: value.cpu().contiguous() for name, value in packed.tensors.items()}
    write_atomically(path, save(stored, metadata={"antifragile": json.dumps(packed.header)}))


def read_engine(path: Path) -> SavedEngine:
    """Read an engine's file.

    Raises:
        CheckpointError: It is missing, damaged, or something else.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["antifragile"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise CheckpointError(f"no file at {path}; give one that engine.save wrote.") from error
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        raise _damaged(str(path), error) from error
    return unpack_engine(PackedEngine(header, tensors), str(path))


def unpack_engine(packed: PackedEngine, source: str) -> SavedEngine:
    """Read what `pack_engine` collected.

    Args:
        packed: The content.
        source: Where it comes from, for messages.

    Raises:
        CheckpointError: It is something else.
    """
    header = packed.header
    try:
        if header["format"] != _FORMAT:
            raise RecordError(f"has format {header['format']!r}, this program reads {_FORMAT!r}")
        epochs = header.get("epochs")
        return SavedEngine(
            source=source,
            position=from_json(SavedPosition, header["position"]),
            tensors=packed.tensors,
            generators=header["generators"],
            optimizer=header["optimizer"],
            epochs=None if epochs is None else from_json(SavedEpochs, epochs),
            call=header.get("call"),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(source, error) from error


def _damaged(source: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{source} is not a file by engine.save, or is damaged ({error}); give another one."
    )


def restore_engine(saved: SavedEngine, candidate: ModelCandidate) -> Progress[float]:
    """Put a file's states, optimizer and generators in place, and return its scores and counts.

    Raises:
        CheckpointError: It is of another model or optimizer; nothing is changed then.
    """
    progress = saved.position.progress
    if progress is None or saved.epochs is not None:
        raise CheckpointError(
            f"{saved.source} was saved by a trainer's callback; resume it with the trainer."
        )
    states = _checked_states(saved, candidate, progress)
    optimizers = candidate.training.optimizers
    if bool(optimizers) != (saved.optimizer is not None):
        raise CheckpointError(
            f"{saved.source} was saved {'without' if saved.optimizer is None else 'with'} an "
            "optimizer=; give the same to resume."
        )
    for optimizer in optimizers:
        _load_optimizer(saved, optimizer)
    for slot, tensors in states.items():
        candidate.slots.put(slot, tensors)
    candidate.slots.load(StateSlot.LKG)
    candidate.expected_units = dict(saved.position.units)
    restore_saved_generators(saved)
    return progress


def _load_optimizer(saved: SavedEngine, optimizer: torch.optim.Optimizer) -> None:
    """Load an optimizer's state; torch itself takes that of another kind of optimizer."""
    state = with_tensors(saved.optimizer, saved.tensors)
    options = [set(group) - {"params"} for group in optimizer.param_groups]
    theirs = [set(group) - {"params"} for group in state["param_groups"]]
    problem: object = "its options are others"
    if options == theirs:
        try:
            optimizer.load_state_dict(state)
            return
        except (ValueError, KeyError, TypeError) as error:
            problem = error
    raise CheckpointError(
        f"{saved.source} belongs to another optimizer ({problem}); give the same one."
    )


def restore_kept_states(saved: SavedEngine, candidate: ModelCandidate) -> Progress[float] | None:
    """Put only the kept states in place, and return their scores and counts, if there are some.

    The model itself, the optimizers and the generators are left to the trainer.

    Raises:
        CheckpointError: They are of another model; nothing is changed then.
    """
    progress = saved.position.progress
    if progress is not None:
        for slot, tensors in _checked_states(saved, candidate, progress).items():
            candidate.slots.put(slot, tensors)
    candidate.expected_units = dict(saved.position.units)
    if saved.call is not None:
        device = next(candidate.training.model.parameters()).device
        near = {n: v.to(device) for n, v in saved.tensors.items() if n.startswith("call/")}
        call = with_tensors(saved.call, near)
        candidate.use_call(call["network"], Inputs(call["args"], call["kwargs"]))
    return progress


def _packed_call(candidate: ModelCandidate, tensors: dict[str, Tensor]) -> dict[str, Any] | None:
    """Add the tensors of the known call, and return the rest; None if JSON cannot hold it."""
    if (known := candidate.call) is None:
        return None
    name, inputs = known
    found: dict[str, Tensor] = {}
    call = {"network": name, "args": inputs.args, "kwargs": dict(inputs.kwargs)}
    packed: dict[str, Any] = without_tensors(call, found, "call")
    try:
        json.dumps(packed)
    except TypeError:
        return None
    tensors |= found
    return packed


def restore_saved_generators(saved: SavedEngine) -> None:
    """Set the random generators to their saved states."""
    restore_generators(_part(saved, "generators"), saved.generators)


def _checked_states(
    saved: SavedEngine, candidate: ModelCandidate, progress: Progress[float]
) -> dict[StateSlot, dict[str, Tensor]]:
    states = {slot: _part(saved, str(slot)) for slot in filled_slots(progress)}
    for tensors in states.values():
        _check(saved, tensors, candidate.slots.tensors(StateSlot.CANDIDATE))
    return states


def _check(saved: SavedEngine, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Refuse the states of another model."""
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    mine = {name: tuple(value.shape) for name, value in own.items()}
    for name in sorted({*shapes, *mine}):
        if shapes.get(name) != mine.get(name):
            raise CheckpointError(
                f"{saved.source} belongs to another model: {name!r} is "
                f"{shapes.get(name, 'missing')} there and {mine.get(name, 'missing')} in this one."
            )


def _part(saved: SavedEngine, prefix: str) -> dict[str, Tensor]:
    return {
        name.partition("/")[2]: value
        for name, value in saved.tensors.items()
        if name.startswith(f"{prefix}/")
    }
