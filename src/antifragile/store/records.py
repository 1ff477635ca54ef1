"""Frozen records that go into the store and come out of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from antifragile.config.specs.study import StudySpec
from antifragile.engine.records import TrialResult


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The trainer and machine that computed a record; with the spec they decide its last bits.

    Args:
        kernel: Name of the trainer, ``"plain"`` for the engine.
        device: ``cpu``, ``cuda`` or ``mps``.
        threads: Threads per task, fixed by the plan.
        precision: ``fp32`` and so on.
        machine: Processor architecture, vendor and widest vector set in use.
        torch_version: PyTorch's version.
    """

    kernel: str
    device: str
    threads: int
    precision: str
    machine: str
    torch_version: str

    @property
    def environment_id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def differences(self, other: Environment) -> list[str]:
        """One clause per field in which the two differ."""
        mine, theirs = asdict(self), asdict(other)
        return [
            f"{key.replace('_', ' ')} {theirs[key]} then, {mine[key]} now"
            for key in mine
            if mine[key] != theirs[key]
        ]


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """The data set of a study: checksum of its content, sizes and majority counts."""

    data_sha256: str
    n_train: int
    n_validation: int
    n_test: int
    zero_r_validation: int
    zero_r_test: int


@dataclass(frozen=True, kw_only=True)
class StoredStudy:
    """A study as stored."""

    spec: StudySpec
    data: DataFacts
    created_at: str


class TrialStatus(StrEnum):
    """Progress of a trial: it has no record, some, or all that its study asks for."""

    PENDING = "pending"
    STARTED = "started"
    FINISHED = "finished"


@dataclass(frozen=True, kw_only=True)
class StoredTrial:
    """A trial as stored, with its progress.

    Args:
        trial_id: The store's number for it.
        architecture: Canonical name.
        mode: Mode name.
        trial: 1-based.
        recorded_meta_loops: Length of the unbroken run of records from meta-loop 1.
        best_correct: Best validation count so far, None without records.
        result: None until it finished once; may be of fewer meta-loops than asked for now.
    """

    trial_id: int
    architecture: str
    mode: str
    trial: int
    recorded_meta_loops: int
    best_correct: int | None
    result: TrialResult | None

    def is_finished(self, meta_loops: int) -> bool:
        """Whether it has a result of at least ``meta_loops`` meta-loops."""
        return self.result is not None and self.result.meta_loops >= meta_loops

    def status(self, meta_loops: int) -> TrialStatus:
        """Its status in a study of ``meta_loops`` meta-loops."""
        if self.is_finished(meta_loops):
            return TrialStatus.FINISHED
        return TrialStatus.STARTED if self.recorded_meta_loops else TrialStatus.PENDING


@dataclass(frozen=True, kw_only=True)
class StoredProgress:
    """A study's progress: trials with a result, records by architecture, the best cell so far.

    ``best`` is (correct validation samples, architecture, mode).
    """

    n_finished: int
    records: Mapping[str, int]
    best: tuple[int, str, str] | None
