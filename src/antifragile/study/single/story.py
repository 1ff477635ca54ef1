"""The story of one trial, ``lkg.json``: its modes, the record of every meta-loop, its weights.

Story and weights are two files, and name each other. A saving writes the story first, which says
of which meta-loop the weights beside it still are (``weights_before``); then the weights, which
keep the story's digest. A kill in between leaves a longer story beside those older weights, and it
is cut to them. Two files that differ in any other way were not left by one trial.

The first saving comes after meta-loop 1. So a story that lies there without weights either has
one record, and none were there before it, or its weights are lost.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from antifragile._data_files import read_json
from antifragile._records import RecordError, from_json, to_json
from antifragile.config.modes import get_mode
from antifragile.engine.policies import Progress, decide
from antifragile.engine.records import MetaLoopRecord
from antifragile.engine.trial import TrialState
from antifragile.errors import CheckpointError
from antifragile.store.writing import record_values


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of meta-loops in one mode, first and last included."""

    mode: str
    first: int
    last: int


@dataclass(frozen=True, kw_only=True)
class Story:
    """The course of a trial.

    Args:
        meta_loop: Number of its meta-loops.
        segments: Its stretches, which cover all of them.
        records: A record of each.
        fingerprint: Identity of the trial; None in the stories of version 0.1, which have no digest
            either.
        weights_before: Meta-loop of the weights that lay beside it when it was written, 0 for none;
            None in the stories of version 0.1.
    """

    meta_loop: int
    segments: tuple[Segment, ...]
    records: tuple[MetaLoopRecord, ...]
    fingerprint: str | None = None
    weights_before: int | None = None

    def until(self, meta_loop: int) -> Story:
        """Return the story as it was after a meta-loop."""
        segments = _until(self.segments, meta_loop)
        records = self.records[:meta_loop]
        return replace(self, meta_loop=meta_loop, segments=segments, records=records)

    def to_json(self) -> dict[str, Any]:
        """Return its JSON data, the digest included."""
        values = [record_values(record) for record in self.records]
        return {
            "segments": to_json(self.segments),
            "meta_loop": self.meta_loop,
            "fingerprint": self.fingerprint,
            "digest": _digest(self.fingerprint, self.segments, values),
            "weights_before": self.weights_before,
            "records": values,
        }


def read_story(path: Path) -> Story:
    """Read a trial's ``lkg.json``; planned meta-loops, as version 0.1 wrote them, are left out.

    Raises:
        CheckpointError: It is missing, damaged, or tells what no trial does.
    """
    try:
        data = read_json(path)
        records = [_nan(item) for item in data["records"]]
        found: Story = from_json(Story, data | {"records": records})
        story = found.until(found.meta_loop)
        _check_segments(story)
        if len(found.records) != story.meta_loop:
            raise RecordError(f"are {len(found.records)} of {story.meta_loop}", "records")
        _replay(story)
        if found.fingerprint is not None and found.to_json()["digest"] != data["digest"]:
            raise RecordError("is not the one of its segments and records", "digest")
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(
            f"{path} is missing or damaged ({reason}); restore it, or start anew in another folder."
        ) from error
    return story


def until_weights(
    story: Story, state: TrialState, *, fingerprint: str, digest: object | None
) -> Story:
    """Cut a story to the weights beside it, if those belong to it.

    Args:
        story: As `read_story` returns it.
        state: The trial's state with these weights.
        fingerprint: Identity of the trial.
        digest: Digest of the story that the weights were written with; None in the weights of
            version 0.1, of which only the counts are compared.

    Raises:
        RecordError: They do not belong together; the text says why.
    """
    is_old = story.fingerprint is None
    if not is_old and story.fingerprint != fingerprint:
        raise RecordError("is of another trial", "the story")
    n_loops, n_trained = story.meta_loop, state.meta_loop
    is_behind = n_trained < n_loops if is_old else n_trained == story.weights_before
    if n_trained != n_loops and not is_behind:
        raise RecordError(
            f"tells of {n_loops} meta-loops, the weights are of meta-loop {n_trained}", "the story"
        )
    part = replace(story, fingerprint=fingerprint).until(n_trained)
    told = _replay(part)
    found = replace(state.kept.progress, rate=told.rate)  # the story has no widths to bound it
    if (told, part.records[-1].validation_correct) != (found, state.final_correct):
        raise RecordError("have another bounty or last count than the story tells", "the weights")
    if digest is not None and digest != part.to_json()["digest"]:
        raise RecordError("were written with another story", "the weights")
    return part


def _until(segments: Sequence[Segment], meta_loop: int) -> tuple[Segment, ...]:
    """Segments up to a meta-loop, each of them only up to the next."""
    ends = [*(following.first - 1 for following in segments[1:]), meta_loop]
    cut = [
        replace(segment, last=min(segment.last, end, meta_loop))
        for segment, end in zip(segments, ends, strict=False)
    ]
    return tuple(segment for segment in cut if segment.first <= segment.last)


def _check_segments(story: Story) -> None:
    """Refuse segments that leave a meta-loop out, or tell of one twice."""
    firsts = [*(segment.first for segment in story.segments), story.meta_loop + 1]
    if story.meta_loop < 1 or firsts != [1, *(segment.last + 1 for segment in story.segments)]:
        raise RecordError(f"do not cover meta-loops 1 to {story.meta_loop}", "segments")


def _replay(story: Story) -> Progress[int]:
    """Promote by the counts of the records, as the meta-loops did; returns the last standing.

    Raises:
        RecordError: A record is missing, or tells another bounty or promotion.
    """
    progress = None
    modes = [mode for part in story.segments for mode in [part.mode] * (part.last - part.first + 1)]
    for meta_loop, (record, mode) in enumerate(zip(story.records, modes, strict=False), start=1):
        place = f"records[{meta_loop - 1}]"
        if record.meta_loop != meta_loop:
            raise RecordError(f"is of meta-loop {record.meta_loop}, expected {meta_loop}", place)
        promotion = get_mode(mode).at(meta_loop).variation.promotion
        progress = decide(promotion, progress, record.validation_correct).progress
        is_promoted = progress.lkg.meta_loop == meta_loop
        if (record.bounty, record.promoted) != (progress.best.score, is_promoted):
            raise RecordError("has a bounty that its counts do not give", place)
    assert progress is not None, "a story has records"
    return progress


def _digest(
    fingerprint: str | None, segments: Sequence[Segment], records: Sequence[dict[str, Any]]
) -> str:
    """SHA-256 of what a trial computed; wall times, which differ every time, do not count."""
    counted = [
        {key: value for key, value in record.items() if key != "seconds" and value is not None}
        for record in records
    ]
    told = {"fingerprint": fingerprint, "segments": to_json(segments), "records": counted}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _nan(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"train_loss": math.nan} if values["train_loss"] is None else values
