"""The standing of a trial as numbers in the header of its checkpoint, checked when read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from antifragile._records import RecordError, to_json
from antifragile.engine.policies import Progress, Standing
from antifragile.engine.trial import TrialState


@dataclass(frozen=True, kw_only=True)
class FurtherCounts:
    """Numbers that only modes with modifiers have; `Progress` and `Moments` say what they mean."""

    best: Standing[int]
    recent: Standing[int] | None = None
    failures: int = 0
    patience: int = 0
    rate: int = 1
    steps: int | None = None

    def check(self, position: Position) -> None:
        """Refuse numbers that no trial has."""
        standings = [self.best] if self.recent is None else [self.best, self.recent]
        counts = [
            self.failures,
            self.patience,
            self.rate - 1,
            0 if self.steps is None else self.steps,
        ]
        if (
            any(not 1 <= item.meta_loop <= position.meta_loop for item in standings)
            or min(*counts, *(item.score for item in standings)) < 0
            or self.best.score < position.bounty
            or (
                self.recent
                and self.recent.meta_loop in (position.lkg_meta_loop, self.best.meta_loop)
            )
            or (self.best.meta_loop == position.lkg_meta_loop) != (self.best == position.lkg)
        ):
            raise RecordError("stands at counts that no trial has", "further")


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a trial stands, as the header of its checkpoint says it."""

    meta_loop: int
    final_correct: int
    bounty: int
    lkg_meta_loop: int
    further: FurtherCounts | None = None

    @property
    def lkg(self) -> Standing[int]:
        """Score and meta-loop of the LKG."""
        return Standing(score=self.bounty, meta_loop=self.lkg_meta_loop)

    @property
    def progress(self) -> Progress[int]:
        """The standing of the trial."""
        further = self.further or FurtherCounts(best=self.lkg)
        return Progress(
            meta_loop=self.meta_loop,
            lkg=self.lkg,
            best=further.best,
            recent=further.recent,
            failures=further.failures,
            patience=further.patience,
            rate=further.rate,
        )

    @classmethod
    def of(cls, state: TrialState) -> Position:
        """Take the numbers out of a state."""
        progress = state.kept.progress
        further = FurtherCounts(
            best=progress.best,
            recent=progress.recent,
            failures=progress.failures,
            patience=progress.patience,
            rate=progress.rate,
            steps=None if state.moments is None else state.moments.steps,
        )
        return cls(
            meta_loop=progress.meta_loop,
            final_correct=state.final_correct,
            bounty=progress.lkg.score,
            lkg_meta_loop=progress.lkg.meta_loop,
            further=None if further == FurtherCounts(best=progress.lkg) else further,
        )

    def to_header(self) -> dict[str, Any]:
        """Return them as the header has them; those that are not needed are left out."""
        return {key: value for key, value in to_json(self).items() if value is not None}

    def check(self) -> None:
        """Refuse numbers that no trial has."""
        if (
            not 1 <= self.lkg_meta_loop <= self.meta_loop
            or min(self.bounty, self.final_correct) < 0
        ):
            raise RecordError("stands at meta-loops or counts that no trial has")
        if self.further is not None:
            self.further.check(self)
