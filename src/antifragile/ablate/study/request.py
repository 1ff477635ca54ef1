"""What an ablation study is asked to do, and the key of each of its runs.

A run's key is the hash of all that decides its numbers: the variant's files, the baseline's (the
initial values come from it), the experiment with the local files it imports, protocol, seeds and
environment.
What is the same is found in the store and not run again, whichever study asked for it first.

    role        what it is for
    run         a configuration of the design, paired by its seed
    repeat      the baseline once more: bit-identical, or the experiment is not deterministic
    placebo     the baseline in another batch order: what a study says of a cut that cuts nothing
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from antifragile.ablate.designs.base import Configuration, DesignName
from antifragile.ablate.source.project import (
    check_function,
    companions_of,
    existing_file,
    package_top,
    split_entry,
)
from antifragile.ablate.study.folder import AblationFolder
from antifragile.ablate.study.trainer import TrainerOptions
from antifragile.analysis.inference.paired import Judgement
from antifragile.config.seeds import SeedTree
from antifragile.data.datasets import load_dataset
from antifragile.errors import UsageError
from antifragile.store.records import Environment

EVALUATE = "evaluate"
_LOWER_IS_BETTER = ("loss", "error", "perplexity", "mse", "mae", "rmse", "nll", "bpc", "wer")


class Protocol(StrEnum):
    """How a component is taken away: RETRAIN before training, POST_HOC from a trained model."""

    RETRAIN = "retrain"
    POST_HOC = "post-hoc"


class Role(StrEnum):
    """What a run is for."""

    RUN = "run"
    REPEAT = "repeat"
    PLACEBO = "placebo"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is run: the user's function, or the built-in classifier on a data set.

    Args:
        file: Absolute path of the user's file.
        function: ``run(build_model, seed, data_order_seed) -> metrics``.
        dataset: Name of a data set of ours, instead of a file.
        options: Of the built-in trainer.
        sha256: Of the file and the local files it imports, or of the data and options.
    """

    file: Path | None = None
    function: str = ""
    dataset: str | None = None
    options: TrainerOptions = field(default_factory=TrainerOptions)
    sha256: str

    @classmethod
    def from_file(cls, text: str) -> Experiment:
        """Read ``FILE.py:function``.

        Raises:
            SpecError: No such file or function, or it is not Python.
        """
        file, function = split_entry("experiment", text, ())
        check_function(existing_file(file), function)
        digest = hashlib.sha256(function.encode())
        for path in companions_of([file], [package_top(file)]):
            digest.update(path.name.encode() + path.read_bytes())
        return cls(file=file, function=function, sha256=digest.hexdigest())

    @classmethod
    def from_dataset(cls, name: str, options: TrainerOptions) -> Experiment:
        """The built-in classifier.

        Raises:
            DataError: Unknown or unreadable data.
        """
        what = json.dumps([load_dataset(name).sha256, options.to_mapping()], sort_keys=True)
        sha256 = hashlib.sha256(what.encode()).hexdigest()
        return cls(dataset=name, options=options, sha256=sha256)

    def check_evaluates(self) -> None:
        """Refuse the post-hoc protocol without a function that measures a trained model.

        Raises:
            SpecError: The file has none.
        """
        if self.file is not None:
            check_function(self.file, EVALUATE)

    def to_job(self) -> dict[str, Any]:
        """For `ablation_job.run_job`."""
        if self.file is not None:
            return {"file": str(self.file), "function": self.function}
        return {"dataset": self.dataset, "options": self.options.to_mapping()}


@dataclass(frozen=True, kw_only=True)
class AblationRequest:
    """An ablation study.

    Args:
        name: In the store.
        experiment: What is run.
        arms: Names of the variants.
        seeds: Pairs; each is a number handed to the experiment.
        protocols: One or both.
        design: How the arms are combined.
        judgement: Declared levels and margin.
        looks: Of an adaptive study.
        metric: Which of the metrics is judged; None for the first.
        higher_is_better: None to go by the metric's name.
    """

    name: str
    experiment: Experiment
    arms: Sequence[str]
    seeds: Sequence[int]
    protocols: Sequence[Protocol] = (Protocol.RETRAIN,)
    design: DesignName = DesignName.LEAVE_ONE_OUT
    judgement: Judgement = field(default_factory=Judgement)
    looks: Sequence[int] = ()
    metric: str | None = None
    higher_is_better: bool | None = None

    def __post_init__(self) -> None:
        if not self.seeds:
            raise UsageError("a study needs at least one seed; give --seeds 10.")
        if self.looks and self.design is not DesignName.LEAVE_ONE_OUT:
            raise UsageError(f"--adaptive is for leave-one-out; got --design {self.design}.")


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run.

    Args:
        ablated: The arms that are cut.
        seed: Its pair.
        protocol: Retrain or post-hoc.
        role: What it is for.
    """

    ablated: Configuration
    seed: int
    protocol: Protocol = Protocol.RETRAIN
    role: Role = Role.RUN

    @property
    def label(self) -> str:
        """For people."""
        what = " + ".join(sorted(self.ablated)) or "baseline"
        return what if self.role is Role.RUN else f"{what}, {self.role}"

    def seeds(self) -> dict[str, int]:
        """The seeds handed to the job: of initial values, the global streams and the order."""
        tree = SeedTree(self.seed).child("ablation")
        drawn = tree.child("placebo") if self.role is Role.PLACEBO else tree
        return {
            "seed": self.seed,
            "init": tree.child("init").key64 >> 1,
            "stream": drawn.child("stream").key64 >> 1,
            "order": drawn.child("order").key64 >> 33,  # fits what NumPy and torch take
        }

    def key(self, folder: AblationFolder, experiment: Experiment, environment: Environment) -> str:
        """SHA-256 of all that decides its numbers."""
        what = {
            "source": folder.sha256(sorted(self.ablated)),
            "baseline": folder.sha256([]),
            "build": [folder.project.build.file, folder.project.build.function],
            "cut": folder.cut_parameters(sorted(self.ablated)),
            "experiment": experiment.sha256,
            "protocol": self.protocol,
            "seeds": self.seeds(),
            "environment": environment.environment_id,
            "again": self.role is Role.REPEAT,
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def is_higher_better(metric: str) -> bool:
    """By the metric's name: losses and errors are better when lower."""
    words = metric.lower().replace("-", "_").split("_")
    return not any(word in _LOWER_IS_BETTER for word in words)
