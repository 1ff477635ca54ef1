"""A Frustration Engine in one safetensors file: tensors, and JSON in the file's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from antifragile._files import write_atomically
from antifragile._records import RecordError, from_json, to_json
from antifragile.config.modes import Mode
from antifragile.engine.frustration.candidate import ModelCandidate
from antifragile.engine.frustration.generators import generator_states, restore_generators
from antifragile.engine.policies import Progress, Standing, StateSlot, filled_slots
from antifragile.errors import CheckpointError

_FORMAT = "antifragile frustration engine 1"


@dataclass(frozen=True, kw_only=True)
class SavedStanding:
    """A score, and the meta-loop whose candidate it was."""

    score: float
    meta_loop: int


@dataclass(frozen=True, kw_only=True)
class SavedPosition:
    """Everything in the file that is no tensor.

    Args:
        mode: The mode.
        seed: Seed of the ablations.
        minimize: Whether less is better; scores are those of the engine, where more is.
        meta_loop: Meta-loops so far.
        lkg: Standing of the LKG.
        best: The bounty and its holder.
        recent: Best candidate that failed, under patience.
        failures: Failures in a row, under patience.
        patience: Failures at which the LKG steps back.
        rate: Units that the next candidate loses in an adaptive mode.
        units: Number of units of every layer that the mode hits.
    """

    mode: str
    seed: int
    minimize: bool
    meta_loop: int
    lkg: SavedStanding
    best: SavedStanding
    recent: SavedStanding | None
    failures: int
    patience: int
    rate: int
    units: dict[str, int]


@dataclass(frozen=True)
class SavedEngine:
    """A file that was read; ``optimizer`` is its state without the tensors, None for none."""

    path: Path
    position: SavedPosition
    tensors: Mapping[str, Tensor]
    generators: Mapping[str, Any]
    optimizer: Mapping[str, Any] | None


def write_engine(
    path: Path,
    candidate: ModelCandidate,
    mode: Mode,
    seed: int,
    progress: Progress[float],
    units: Mapping[str, int],
) -> None:
    """Write an engine's file in one step.

    Args:
        path: The file.
        candidate: The model with its kept states and its optimizer.
        mode: The mode.
        seed: Seed of the ablations.
        progress: Scores and counts.
        units: Number of units of every layer that the mode hits.
    """
    tensors = {
        f"{slot}/{name}": value
        for slot in candidate.slots.filled
        for name, value in candidate.slots.tensors(slot).items()
    }
    random_tensors, random_values = generator_states()
    tensors |= {f"generators/{name}": value for name, value in random_tensors.items()}
    optimizer = None
    if candidate.training.optimizer is not None:
        memory: dict[str, Tensor] = {}
        optimizer = _without_tensors(candidate.training.optimizer.state_dict(), memory, "optimizer")
        tensors |= memory
    position = SavedPosition(
        mode=mode.name,
        seed=seed,
        minimize=candidate.training.minimize,
        meta_loop=progress.meta_loop,
        lkg=_saved(progress.lkg),
        best=_saved(progress.best),
        recent=None if progress.recent is None else _saved(progress.recent),
        failures=progress.failures,
        patience=progress.patience,
        rate=progress.rate,
        units=dict(units),
    )
    header = {
        "format": _FORMAT,
        "position": to_json(position),
        "generators": random_values,
        "optimizer": optimizer,
    }
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomically(path, save(stored, metadata={"antifragile": json.dumps(header)}))


def read_engine(path: Path) -> SavedEngine:
    """Read an engine's file.

    Raises:
        CheckpointError: It is missing, damaged, or something else.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["antifragile"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["format"] != _FORMAT:
            raise RecordError(f"has format {header['format']!r}, this program reads {_FORMAT!r}")
        position: SavedPosition = from_json(SavedPosition, header["position"])
        return SavedEngine(path, position, tensors, header["generators"], header["optimizer"])
    except FileNotFoundError as error:
        raise CheckpointError(f"no file at {path}; give one that engine.save wrote.") from error
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RecordError) as error:
        raise CheckpointError(
            f"{path} is not a file by engine.save, or is damaged ({error}); give another one."
        ) from error


def restore_engine(saved: SavedEngine, candidate: ModelCandidate) -> Progress[float]:
    """Put a file's states, optimizer and generators in place, and return its scores and counts.

    Raises:
        CheckpointError: It is of another model or optimizer; nothing is changed then.
    """
    position = saved.position
    progress = Progress(
        meta_loop=position.meta_loop,
        lkg=_standing(position.lkg),
        best=_standing(position.best),
        recent=None if position.recent is None else _standing(position.recent),
        failures=position.failures,
        patience=position.patience,
        rate=position.rate,
    )
    states = {slot: _part(saved, str(slot)) for slot in filled_slots(progress)}
    for tensors in states.values():
        _check(saved, tensors, candidate.slots.tensors(StateSlot.CANDIDATE))
    optimizer = candidate.training.optimizer
    if (optimizer is None) != (saved.optimizer is None):
        raise CheckpointError(
            f"{saved.path} was saved {'without' if saved.optimizer is None else 'with'} an "
            "optimizer=; give the same to resume."
        )
    if optimizer is not None:
        try:
            optimizer.load_state_dict(_with_tensors(saved.optimizer, saved.tensors))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{saved.path} belongs to another optimizer ({error}); give the same one."
            ) from error
    for slot, tensors in states.items():
        candidate.slots.put(slot, tensors)
    candidate.slots.load(StateSlot.LKG)
    restore_generators(_part(saved, "generators"), saved.generators)
    return progress


def _check(saved: SavedEngine, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Refuse the states of another model."""
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    mine = {name: tuple(value.shape) for name, value in own.items()}
    for name in sorted({*shapes, *mine}):
        if shapes.get(name) != mine.get(name):
            raise CheckpointError(
                f"{saved.path} belongs to another model: {name!r} is "
                f"{shapes.get(name, 'missing')} there and {mine.get(name, 'missing')} in this one."
            )


def _part(saved: SavedEngine, prefix: str) -> dict[str, Tensor]:
    return {
        name.partition("/")[2]: value
        for name, value in saved.tensors.items()
        if name.startswith(f"{prefix}/")
    }


def _saved(standing: Standing[float]) -> SavedStanding:
    return SavedStanding(score=standing.score, meta_loop=standing.meta_loop)


def _standing(saved: SavedStanding) -> Standing[float]:
    return Standing(score=saved.score, meta_loop=saved.meta_loop)


def _without_tensors(value: Any, tensors: dict[str, Tensor], path: str) -> Any:
    """Replace tensors in an optimizer's state by their names; pairs keep keys that are numbers."""
    if isinstance(value, Tensor):
        tensors[path] = value
        return {"tensor": path}
    if isinstance(value, dict):
        pairs = [[key, _without_tensors(v, tensors, f"{path}/{key}")] for key, v in value.items()]
        return {"pairs": pairs}
    if isinstance(value, list | tuple):
        items = [_without_tensors(v, tensors, f"{path}/{i}") for i, v in enumerate(value)]
        return {"items": items, "is_tuple": isinstance(value, tuple)}
    return {"value": value}


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo `_without_tensors`."""
    if "tensor" in value:
        return tensors[value["tensor"]].clone()
    if "pairs" in value:
        return {key: _with_tensors(v, tensors) for key, v in value["pairs"]}
    if "items" in value:
        items = [_with_tensors(v, tensors) for v in value["items"]]
        return tuple(items) if value["is_tuple"] else items
    return value["value"]
