"""The source of an analysis: a study in a store, or a CSV of trials.

Every verb of analysis and report takes one; from here on both look the same.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from antifragile.analysis.frames import (
    meta_loops_frame,
    read_trials_csv,
    robustness_frame,
    trials_frame,
)
from antifragile.config.architecture import MNIST_CLASSES, MNIST_INPUTS
from antifragile.config.landscape import PAPER_LANDSCAPE
from antifragile.config.networks import Network
from antifragile.config.seeds import Pairing
from antifragile.errors import UsageError
from antifragile.store.store import Store

_PAPER_NAMES = {entry.architecture.name for entry in PAPER_LANDSCAPE}
_CSV_NEEDS_ZERO_R = "a CSV does not say its ZeroR accuracy; give it, as in --zero-r 11.02."


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Trials to analyse, and what is known about their origin.

    Args:
        name: The study's name, or the file's.
        trials: One row per finished trial: architecture, mode, trial, peak_validation_accuracy,
            and from a store final_validation_accuracy, test_accuracy, peak_meta_loop (percent).
        meta_loops: One row per meta-loop record: architecture, mode, trial, meta_loop,
            validation_accuracy, bounty_accuracy, ablated_layer, ...; None where they were not read.
        zero_r: ZeroR accuracy of the validation split, percent.
        paired: Whether trials of the same number share initial weights and batch orders.
        robustness: One row per draw of damage, as `frames.robustness_frame`; None for a CSV.
        origin: Spec, environments and creation time of a study, or the file of a CSV; plain values.
    """

    name: str
    trials: pd.DataFrame
    meta_loops: pd.DataFrame | None
    zero_r: float
    paired: bool
    robustness: pd.DataFrame | None = None
    origin: dict[str, Any] = field(default_factory=dict)


def open_source(
    where: str,
    *,
    study: str | None = None,
    zero_r: float | None = None,
    with_records: bool = True,
) -> Source:
    """Read a store URL, the path of an SQLite file, or the path of a CSV file.

    Args:
        where: The store or the CSV.
        study: Name of a study of the store; None for the only one.
        zero_r: ZeroR accuracy in percent; needed for a CSV, overrides a store's.
        with_records: Read the meta-loop records too, which takes seconds for 588,000 of them.

    Raises:
        UsageError: A CSV without ``zero_r``, or with ``study``.
        DataError: Not a CSV of trials of one study, or one that contradicts itself.
        StoreError: No such store or study.
    """
    if where.lower().endswith(".csv"):
        return _from_csv(Path(where), study, zero_r)
    with Store(where, create=False) as store:
        stored = store.study(study)
        data = stored.data
        return Source(
            name=stored.spec.name,
            trials=trials_frame(store, stored),
            meta_loops=meta_loops_frame(store, stored) if with_records else None,
            zero_r=100 * data.zero_r_validation / data.n_validation if zero_r is None else zero_r,
            paired=stored.spec.pairing is Pairing.PAIRED,
            robustness=robustness_frame(store, stored),
            origin={
                "spec": json.loads(stored.spec.canonical_json()),
                "environments": [asdict(item) for item in store.environments(stored.spec.name)],
                "created_at": stored.created_at,
            },
        )


def input_sizes(source: Source) -> tuple[int, int] | None:
    """Inputs and classes of the data set, None when unknown.

    A CSV does not name its data set. One that holds an architecture of the paper is taken for
    the paper's data set, MNIST; of another one nothing is assumed.
    """
    if (spec := source.origin.get("spec")) is not None:
        from antifragile.data.datasets import dataset_sources  # imports torch, which a CSV spares

        sizes = {item.name: (item.n_inputs, item.n_classes) for item in dataset_sources()}
        return sizes.get(spec["dataset"])
    is_papers = source.trials["architecture"].isin(_PAPER_NAMES).any()
    return (MNIST_INPUTS, MNIST_CLASSES) if is_papers else None


def network_of(source: Source) -> Network:
    """The kind of network that was trained; a CSV does not say it and is taken for an MLP's."""
    spec = source.origin.get("spec")
    return Network.MLP if spec is None else Network(spec["training"].get("network", "mlp"))


def _from_csv(path: Path, study: str | None, zero_r: float | None) -> Source:
    if study is not None:
        raise UsageError("--study chooses within a store; a CSV holds one study.")
    if zero_r is None:
        raise UsageError(f"{path}: {_CSV_NEEDS_ZERO_R}")
    return Source(
        name=path.stem,
        trials=read_trials_csv(path, zero_r=zero_r),
        meta_loops=None,
        zero_r=zero_r,
        paired=False,
        origin={"file": path.name},
    )
