"""Options of ``run``: what is trained, how it is judged, where it runs.

StudyOptions   the study; it makes the `AblationRequest`
AblationRunOptions     the store and the processes

The command line adds help to the same classes (`cli.ablate.choices`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from antifragile.ablate.command.command import Command
from antifragile.ablate.command.metrics import MetricSource
from antifragile.ablate.designs.registry import DesignName, looks_until
from antifragile.ablate.options import at_least, entries_of, kinds_of
from antifragile.ablate.records import AblationKind
from antifragile.ablate.request import parse_size
from antifragile.ablate.sandbox.job import Limits
from antifragile.ablate.study.child.trainer import TrainerOptions
from antifragile.ablate.study.experiment import CommandExperiment, Experiment
from antifragile.ablate.study.folder import AblationFolder, choose_arms
from antifragile.ablate.study.request import AblationRequest, TrainingProtocol
from antifragile.ablate.study.server import StudyProcesses
from antifragile.analysis.inference.paired import Judgement
from antifragile.errors import UsageError, nearest

_WORDS = {
    "protocol": ("retrain", "post-hoc", "both"),
    "design": tuple(DesignName),
    "direction": ("higher", "lower"),
}


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """A study: what is trained, on which seeds, and how it is judged.

    Args:
        experiment: ``FILE.py:run``, a function ``run(build_model, seed, data_order_seed)`` that
            trains and returns metrics by name.
        command: The command that trains, as typed in a terminal; None for that of the variants.
        reseed: Mix the seed into constants that a command's script seeds with.
        threads: Threads of a command's run.
        dataset: Name of a data set of ours on which a classifier is trained instead.
        seeds: Pairs of runs per variant.
        first_seed: The first of the seeds.
        protocol: Cut before training (``retrain``), cut the trained model (``post-hoc``), or both.
        design: The way in which components are combined.
        only: Folders or components, as in ``block-*``; None for all.
        kinds: Kinds of ablation; None for all.
        adaptive: Run further seeds where the verdict is still open.
        max_seeds: Most seeds of an adaptive study; None for three times `seeds`.
        metric: The metric that is judged, or of a command where it is, as in
            ``json:{out}/metrics.json:val_loss``; of several the first is judged.
        direction: Which is better; None to go by the metric's name.
        alpha: Level of the verdicts.
        margin: Effects smaller than this are equivalence, in units of the metric.
        epochs: Passes over a data set of ours.
        batch_size: Its samples a step.
        learning_rate: AdamW's, on a data set of ours.
        device: ``cpu``, ``cuda`` or ``mps``: handed to an experiment's function that takes it.
    """

    experiment: str | None = None
    command: str | None = None
    reseed: bool = False
    threads: int = 1
    dataset: str | None = None
    seeds: int = 10
    first_seed: int = 1
    protocol: Literal["retrain", "post-hoc", "both"] = "retrain"
    design: DesignName = DesignName.LEAVE_ONE_OUT
    only: Sequence[str] | str | None = None
    kinds: Sequence[str] | str | None = None
    adaptive: bool = False
    max_seeds: int | None = None
    metric: Sequence[str] | str | None = None
    direction: Literal["higher", "lower"] | None = None
    alpha: float = 0.05
    margin: float | None = None
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 2e-3
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, words in _WORDS.items():
            value = getattr(self, name)
            if value is not None and value not in words:
                raise UsageError(f"{name} is {value!r}; {nearest(str(value), words)}")
        at_least(1, seeds=self.seeds, threads=self.threads, epochs=self.epochs)

    @property
    def wanted_kinds(self) -> list[AblationKind]:
        """The kinds of ablation asked for; none for all."""
        return kinds_of(self.kinds) if self.kinds else []

    @property
    def patterns(self) -> list[str]:
        """The folders or components that were chosen; none for all."""
        return entries_of(self.only)

    @property
    def _metrics(self) -> list[str]:
        return entries_of(self.metric)

    def _command_of(self, folder: AblationFolder) -> str | None:
        """The command: the one given, or that of the variants where no other experiment is."""
        is_other = self.experiment is not None or self.dataset is not None
        return self.command or (None if is_other else folder.command or None)

    def _command_experiment(self, folder: AblationFolder) -> CommandExperiment | None:
        if (text := self._command_of(folder)) is None:
            return None
        here = Path.cwd() if self.command or not folder.started_in else Path(folder.started_in)
        command = Command.read(text, folder=here, reseeds=self.reseed, threads=self.threads)
        sources = tuple(MetricSource.read(text) for text in self._metrics)
        return CommandExperiment(command=command, metrics=sources)

    def _judged_metric(self, folder: AblationFolder) -> str | None:
        given = self._metrics
        if self._command_of(folder) is not None:
            return MetricSource.read(given[0]).name if given else None
        if len(given) > 1:
            raise UsageError("--metric names one metric, unless --command is given.")
        return given[0] if given else None

    def request(self, name: str, folder: AblationFolder) -> AblationRequest:
        """The study of this name that the options ask for, of the folder's variants."""
        is_both = self.protocol == "both"
        most_seeds = (self.max_seeds or 3 * self.seeds) if self.adaptive else self.seeds
        looks = looks_until(self.seeds, most_seeds) if self.adaptive else ()
        options = TrainerOptions(
            epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate
        )
        design = DesignName(self.design)
        return AblationRequest(
            name=name,
            arms=choose_arms(folder, design, self.patterns, self.wanted_kinds),
            experiment=Experiment.chosen(
                self.experiment, self.dataset, options, self._command_experiment(folder)
            ),
            seeds=range(self.first_seed, self.first_seed + most_seeds),
            protocols=tuple(TrainingProtocol) if is_both else (TrainingProtocol(self.protocol),),
            design=design,
            judgement=Judgement(alpha=self.alpha, margin=self.margin, looks=max(1, len(looks))),
            looks=looks,
            metric=self._judged_metric(folder),
            higher_is_better=None if self.direction is None else self.direction == "higher",
            device=self.device,
        )


@dataclass(frozen=True, kw_only=True)
class AblationRunOptions:
    """The store of a study and the processes of its runs.

    Args:
        manifest: Repeat the study of this manifest, or with `only` some of its rows.
        name: Name of the study in the store.
        store: File or URL of the store; None for ``ablation.db`` in the folder of variants.
        workers: Runs at a time.
        timeout: Seconds for one run.
        memory: Memory for one run, as in ``512MiB``.
        confine: Hold runs like probes: own files alone, no network, no secret variables.
        fail_fast: End the study with the first run that fails.
    """

    manifest: str | Path | None = None
    name: str = "ablation"
    store: str | Path | None = None
    workers: int = 1
    timeout: float = 3600.0
    memory: str = "8GiB"
    confine: bool = False
    fail_fast: bool = False

    def __post_init__(self) -> None:
        at_least(1, workers=self.workers)

    @property
    def processes(self) -> StudyProcesses:
        """The processes of the study's runs."""
        limits = Limits(timeout_s=self.timeout, memory_bytes=parse_size(self.memory))
        return StudyProcesses(
            workers=self.workers,
            limits=limits,
            is_confined=self.confine,
            fails_fast=self.fail_fast,
        )
