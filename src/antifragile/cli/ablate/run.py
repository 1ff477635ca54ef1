"""``antifragile ablate run``: train generated variants on paired seeds."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from antifragile.ablate.designs.base import DesignName
from antifragile.ablate.designs.choice import looks_until
from antifragile.ablate.request import parse_size
from antifragile.ablate.sandbox.server import Limits
from antifragile.ablate.study.folder import (
    AblationFolder,
    choose_arms,
    one_per_component,
    read_ablation_folder,
)
from antifragile.ablate.study.manifest import check_same_sources, differences, write_manifest
from antifragile.ablate.study.outcome import AblationOutcome, AblationProgress
from antifragile.ablate.study.repeat import old_choices, repeat_folder
from antifragile.ablate.study.request import AblationRequest, Experiment, Protocol
from antifragile.ablate.study.results import read_results
from antifragile.ablate.study.study import run_ablation
from antifragile.ablate.study.trainer import TrainerOptions
from antifragile.analysis.inference.paired import Judgement
from antifragile.cli.ablate.options import (
    AdaptiveOption,
    AlphaOption,
    BatchSizeOption,
    DatasetOption,
    DesignOption,
    DirectionOption,
    EpochsOption,
    ExperimentOption,
    FirstSeedOption,
    FolderArgument,
    JsonOption,
    KindsToRunOption,
    LearningRateOption,
    ManifestOption,
    MarginOption,
    MaxSeedsOption,
    MetricOption,
    NameOption,
    OnlyOption,
    ProtocolOption,
    RunMemoryOption,
    RunTimeoutOption,
    RunWorkersOption,
    SeedsOption,
    StoreOption,
)
from antifragile.cli.console import print_json, stderr, stdout
from antifragile.errors import UsageError
from antifragile.report.ablation.tables import ablation_tables
from antifragile.report.table import as_rich
from antifragile.store.ablation import AblationStore

_SAID_EVERY_S = 10.0


def run(
    folder: FolderArgument,
    experiment: ExperimentOption = None,
    dataset: DatasetOption = None,
    seeds: SeedsOption = 10,
    first_seed: FirstSeedOption = 1,
    protocol: ProtocolOption = "retrain",
    design: DesignOption = "leave-one-out",
    only: OnlyOption = None,
    kinds: KindsToRunOption = None,
    adaptive: AdaptiveOption = False,
    max_seeds: MaxSeedsOption = None,
    metric: MetricOption = None,
    direction: DirectionOption = None,
    alpha: AlphaOption = 0.05,
    margin: MarginOption = None,
    epochs: EpochsOption = 20,
    batch_size: BatchSizeOption = 64,
    learning_rate: LearningRateOption = 2e-3,
    manifest: ManifestOption = None,
    name: NameOption = "ablation",
    store: StoreOption = None,
    workers: RunWorkersOption = 1,
    timeout: RunTimeoutOption = 3600.0,
    memory: RunMemoryOption = "8GiB",
    as_json: JsonOption = False,
) -> None:
    """Train every certified variant on paired seeds and say what each component was worth.

    Finished runs are never repeated: run the same command again to go on, or to try failed ones.
    """
    given: dict[str, Any] = {
        "experiment": experiment,
        "dataset": dataset,
        "seeds": list(range(first_seed, first_seed + seeds)),
        "protocol": protocol,
        "design": design,
        "adaptive": adaptive,
        "max_seeds": max_seeds,
        "metric": metric,
        "direction": direction,
        "alpha": alpha,
        "margin": margin,
        "options": {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate},
        "only": list(only or ()),
        "kinds": [word.strip() for word in kinds.split(",")] if kinds else [],
        "name": name,
    }
    then = None
    if manifest is not None:
        then, given = old_choices(manifest, given)
        repeat_folder(then, folder, workers=workers)
    outcome = _run(folder, given, then, store=store, workers=workers, limits=(timeout, memory))
    _finish(outcome, folder, then, as_json=as_json)


def _run(
    folder: Path,
    given: dict[str, Any],
    then: dict[str, Any] | None,
    *,
    store: str | None,
    workers: int,
    limits: tuple[float, str],
) -> AblationOutcome:

    made = read_ablation_folder(folder)
    request = _request(made, given)
    if then is not None:
        check_same_sources(then, made, request)
    with _store(folder, store, create=True) as opened, _Said() as said:
        return run_ablation(
            request,
            made,
            opened,
            workers=workers,
            limits=Limits(timeout_s=limits[0], memory_bytes=parse_size(limits[1])),
            listener=said,
            command=f"antifragile {shlex.join(sys.argv[1:])}",
        )


def _request(folder: AblationFolder, given: dict[str, Any]) -> AblationRequest:
    design, seeds = DesignName(given["design"]), given["seeds"]
    looks: tuple[int, ...] = ()
    if given["adaptive"]:
        most = given["max_seeds"] or 3 * len(seeds)
        looks = looks_until(len(seeds), most)
        seeds = list(range(seeds[0], seeds[0] + most))
    arms = choose_arms(folder, given["only"], given["kinds"])
    if design is not DesignName.LEAVE_ONE_OUT:
        arms = one_per_component(arms)
    both = given["protocol"] == "both"
    return AblationRequest(
        name=given["name"],
        experiment=_experiment(given),
        arms=[arm.name for arm in arms],
        seeds=seeds,
        protocols=tuple(Protocol) if both else (Protocol(given["protocol"]),),
        design=design,
        judgement=Judgement(alpha=given["alpha"], margin=given["margin"], looks=max(1, len(looks))),
        looks=looks,
        metric=given["metric"],
        higher_is_better=None if given["direction"] is None else given["direction"] == "higher",
    )


def _experiment(given: dict[str, Any]) -> Experiment:
    if (given["experiment"] is None) == (given["dataset"] is None):
        raise UsageError(
            "what is to be run? give either --experiment FILE.py:run or --dataset NAME."
        )
    if given["experiment"] is not None:
        return Experiment.from_file(given["experiment"])
    return Experiment.from_dataset(given["dataset"], TrainerOptions(**given["options"]))


def _store(folder: Path, store: str | None, *, create: bool) -> AblationStore:
    return AblationStore(store or str(folder / "ablation.db"), create=create)


def _finish(
    outcome: AblationOutcome, folder: Path, then: dict[str, Any] | None, *, as_json: bool
) -> None:

    if then is None:
        write_manifest(outcome.manifest, folder)
    if as_json:
        print_json(outcome.manifest)
        return
    for table in ablation_tables(read_results(outcome.manifest)):
        stdout().print(as_rich(table))
        stdout().print()
    failed = f", {outcome.n_failed} failed" if outcome.n_failed else ""
    refused = f", {outcome.n_refused} not run" if outcome.n_refused else ""
    stdout().print(
        f"{outcome.n_run} runs{failed}, {outcome.n_found} found in the store{refused}, "
        f"{outcome.seconds:.1f} s."
    )
    if then is not None:
        compared, found = differences(outcome.manifest, then)
        same = f"{compared - len(found)} of {compared} runs give the manifest's numbers exactly."
        stdout().print("\n".join([same, *found]), markup=False, soft_wrap=True)


class _Said:
    """A listener that rewrites one line on a terminal, and says a line now and then elsewhere."""

    def __init__(self) -> None:
        self._console = stderr()
        self._at = float("-inf")

    def __enter__(self) -> _Said:
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._console.print(" " * (self._console.width - 1), end="\r")

    def __call__(self, progress: AblationProgress) -> None:
        failed = f", {progress.failed} failed" if progress.failed else ""
        line = (
            f"{progress.ended} of {progress.wanted} {progress.what}{failed}; last {progress.last}"
        )
        if self._console.is_terminal:
            width = self._console.width - 1
            self._console.print(line[:width].ljust(width), end="\r", markup=False)
        elif progress.seconds - self._at >= _SAID_EVERY_S:
            self._at = progress.seconds
            self._console.print(line, markup=False, soft_wrap=True)
