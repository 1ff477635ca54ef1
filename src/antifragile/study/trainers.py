"""Trainers of the trials of a task: the readable engine, or the fleet.

Both give the same records by the same rule; the trainer of a number is stored with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from antifragile.config.specs.trial import TrialSpec
from antifragile.data.splits import Dataset
from antifragile.engine.records import MetaLoopRecord, TrialResult
from antifragile.engine.trial import TrialState, finish, meta_loops
from antifragile.fleet.native.library import load_native
from antifragile.fleet.planning.plan import FleetPlan
from antifragile.fleet.trainer import fleet_finish, fleet_meta_loops


class EngineName(StrEnum):
    """FLEET trains many trials of one architecture at once, PLAIN one after another."""

    FLEET = "fleet"
    PLAIN = "plain"


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One meta-loop of the trials of a task.

    Args:
        records: One per trial, None for a trial that had no meta-loop to go.
        states: Gives where each trial stands now; call it before the next turn.
    """

    records: Sequence[MetaLoopRecord | None]
    states: Callable[[], Sequence[TrialState]]


class Trainer(Protocol):
    """Trains trials of one architecture from where they stand."""

    def turns(
        self, specs: Sequence[TrialSpec], data: Dataset, start: Sequence[TrialState | None]
    ) -> Iterator[Turn]:
        """Run meta-loops until every trial has its ``spec.meta_loops``."""
        ...

    def finish(
        self, specs: Sequence[TrialSpec], data: Dataset, states: Sequence[TrialState]
    ) -> list[TrialResult]:
        """Test every holder of a bounty once."""
        ...


@dataclass(frozen=True, kw_only=True)
class PlainTrainer:
    """The readable engine, one trial at a time."""

    threads: int = 1
    harm: bool = False

    def turns(
        self, specs: Sequence[TrialSpec], data: Dataset, start: Sequence[TrialState | None]
    ) -> Iterator[Turn]:
        """Run the one trial to its end."""
        (spec,), (begin,) = specs, start
        turns = meta_loops(spec, data, start=begin, threads=self.threads, harm=self.harm)
        for record, state in turns:
            yield Turn(records=[record], states=_always([state]))

    def finish(
        self, specs: Sequence[TrialSpec], data: Dataset, states: Sequence[TrialState]
    ) -> list[TrialResult]:
        """Test the holder of the bounty once."""
        (spec,), (state,) = specs, states
        return [finish(spec, data, state, threads=self.threads)]


@dataclass(frozen=True, kw_only=True)
class FleetTrainer:
    """All trials at once, as a plan says."""

    plan: FleetPlan
    harm: bool = False

    def turns(
        self, specs: Sequence[TrialSpec], data: Dataset, start: Sequence[TrialState | None]
    ) -> Iterator[Turn]:
        """Run one meta-loop of every trial that has one to go."""
        turns = fleet_meta_loops(specs, data, start=start, plan=self.plan, harm=self.harm)
        for records, state in turns:
            yield Turn(records=records, states=state.trial_states)

    def finish(
        self, specs: Sequence[TrialSpec], data: Dataset, states: Sequence[TrialState]
    ) -> list[TrialResult]:
        """Test every holder of a bounty once."""
        return fleet_finish(specs, data, states, plan=self.plan)


def kernel_name(engine: EngineName, device: str, precision: str, *, perturbed: bool = False) -> str:
    """The name that is stored as the kernel of a record."""
    if engine is EngineName.PLAIN:
        return "plain"
    serves = device == "cpu" and not perturbed
    native = load_native(bf16=precision == "bf16") if serves else None
    return f"fleet {native.version}" if native else "fleet torch"


def _always(states: list[TrialState]) -> Callable[[], Sequence[TrialState]]:
    return lambda: states
