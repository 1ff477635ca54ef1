"""A trial's state in one safetensors file: the LKG's weights, and JSON in the file's metadata.

One file, written to a temporary name and renamed, so a kill leaves the old state or the new.
Nothing is pickled: reading a checkpoint can run no code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from antifragile._files import write_atomically
from antifragile.config.run import TrialSpec
from antifragile.engine.loop import TrialState
from antifragile.engine.policies import LastKnownGood
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
        "meta_loop": state.meta_loop,
        "final_correct": state.final_correct,
        "bounty": state.lkg.bounty,
        "lkg_meta_loop": state.lkg.meta_loop,
        "notes": notes or {},
    }
    tensors = {name: value.detach().cpu() for name, value in state.lkg.weights.items()}
    header["sha256"] = _digest(header, tensors)
    write_atomically(
        path, save(tensors, metadata={"antifragile": json.dumps(header)}), durable=durable
    )


def load_checkpoint(path: Path, *, fingerprint: str | None) -> tuple[TrialState, dict[str, Any]]:
    """Read a state and its notes back.

    Args:
        path: A file by `save_checkpoint`.
        fingerprint: Identity of the trial it must belong to, or None to accept any.

    Raises:
        CheckpointError: Missing, damaged, not a checkpoint, or of another trial.
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
        weights = load(content)
    except SafetensorError as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error}; delete it.") from error
    claimed = header.pop("sha256", None)
    if claimed != _digest(header, weights):
        raise CheckpointError(f"checkpoint {path} is damaged: its checksum is wrong; delete it.")
    lkg = LastKnownGood(weights=weights, bounty=header["bounty"], meta_loop=header["lkg_meta_loop"])
    state = TrialState(
        meta_loop=header["meta_loop"], lkg=lkg, final_correct=header["final_correct"]
    )
    return state, header["notes"]


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
