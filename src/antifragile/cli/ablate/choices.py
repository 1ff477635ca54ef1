"""The options of ``ablate run`` that make a study: what is trained, and how it is judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from antifragile.ablate.command.command import Command
from antifragile.ablate.command.metrics import MetricSource
from antifragile.ablate.designs.registry import DesignName, looks_until
from antifragile.ablate.study.child.trainer import TrainerOptions
from antifragile.ablate.study.experiment import CommandExperiment, Experiment
from antifragile.ablate.study.folder import AblationFolder, choose_arms
from antifragile.ablate.study.request import AblationRequest, TrainingProtocol
from antifragile.analysis.inference.paired import Judgement
from antifragile.cli.ablate.options import words_of
from antifragile.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class StudyFlags:
    """A study: what is trained, on which seeds, and how it is judged."""

    experiment: Annotated[
        str | None,
        typer.Option(
            help="FILE.py:run, a function run(build_model, seed, data_order_seed) that trains and "
            "returns metrics by name.",
            show_default=False,
        ),
    ] = None
    command: Annotated[
        str | None,
        typer.Option(
            help="The command that trains, as you type it, as in 'python train.py --seed {seed} "
            "--out {out}'; nothing of yours is rewritten. {order} is the seed of the batch order.",
            show_default="that of the variants",
        ),
    ] = None
    reseed: Annotated[
        bool,
        typer.Option(
            "--reseed", help="With --command: mix the seed into constants the script seeds with."
        ),
    ] = False
    threads: Annotated[
        int, typer.Option(min=1, max=1024, help="With --command: threads of a run.")
    ] = 1
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Train a classifier on this data set of ours instead, as in digits.",
            show_default=False,
        ),
    ] = None
    seeds: Annotated[int, typer.Option(min=1, max=10_000, help="Pairs of runs per variant.")] = 10
    first_seed: Annotated[int, typer.Option(min=0, max=2**53, help="The first of the seeds.")] = 1
    protocol: Annotated[
        Literal["retrain", "post-hoc", "both"],
        typer.Option(help="Cut before training, or cut the trained model (needs evaluate())."),
    ] = "retrain"
    design: Annotated[DesignName, typer.Option(help="How components are combined.")] = (
        DesignName.LEAVE_ONE_OUT
    )
    only: Annotated[
        list[str] | None,
        typer.Option(help="Folders or components, as in 'block-*'; may be repeated."),
    ] = None
    kinds: Annotated[
        str | None, typer.Option(help="Kinds of ablation, as in identity,zero.", show_default="all")
    ] = None
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Further seeds where the verdict is still open.")
    ] = False
    max_seeds: Annotated[
        int | None,
        typer.Option(
            min=2, max=10_000, help="Of an adaptive study.", show_default="3 times --seeds"
        ),
    ] = None
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="Which metric is judged. With --command where it is, as in "
            "'json:{out}/metrics.json:val_loss', 'csv:{out}/log.csv:val_loss' or "
            "'regex:val loss ([0-9.]+)'; may be repeated, the first is judged.",
            show_default="the first",
        ),
    ] = None
    direction: Annotated[
        Literal["higher", "lower"] | None,
        typer.Option(help="Which is better.", show_default="by the metric's name"),
    ] = None
    alpha: Annotated[float, typer.Option(min=1e-6, max=0.5, help="Level of the verdicts.")] = 0.05
    margin: Annotated[
        float | None,
        typer.Option(
            min=1e-12,
            max=1e18,
            help="Effects smaller than this are equivalence, in units of the metric.",
            show_default="none declared",
        ),
    ] = None
    epochs: Annotated[
        int, typer.Option(min=1, max=10**7, help="With --dataset: passes over it.")
    ] = 20
    batch_size: Annotated[
        int, typer.Option(min=1, max=2**31 - 1, help="With --dataset: samples a step.")
    ] = 64
    learning_rate: Annotated[
        float, typer.Option(min=0, max=1e18, help="With --dataset: of AdamW.")
    ] = 2e-3

    @property
    def wanted_kinds(self) -> list[str]:
        """The kinds of ablation asked for; none for all."""
        return words_of(self.kinds) if self.kinds else []

    def _command_of(self, folder: AblationFolder) -> str | None:
        """The command: the one given, or that of the variants where no other experiment is."""
        is_other = self.experiment is not None or self.dataset is not None
        return self.command or (None if is_other else folder.command or None)

    def _command_experiment(self, folder: AblationFolder) -> CommandExperiment | None:
        if (text := self._command_of(folder)) is None:
            return None
        command = Command.read(text, folder=Path.cwd(), reseeds=self.reseed, threads=self.threads)
        sources = tuple(MetricSource.read(text) for text in self.metric or ())
        return CommandExperiment(command=command, metrics=sources)

    def _judged_metric(self, folder: AblationFolder) -> str | None:
        given = self.metric or []
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
        return AblationRequest(
            name=name,
            arms=choose_arms(folder, self.design, self.only or [], self.wanted_kinds),
            experiment=Experiment.chosen(
                self.experiment, self.dataset, options, self._command_experiment(folder)
            ),
            seeds=range(self.first_seed, self.first_seed + most_seeds),
            protocols=tuple(TrainingProtocol) if is_both else (TrainingProtocol(self.protocol),),
            design=self.design,
            judgement=Judgement(alpha=self.alpha, margin=self.margin, looks=max(1, len(looks))),
            looks=looks,
            metric=self._judged_metric(folder),
            higher_is_better=None if self.direction is None else self.direction == "higher",
        )
