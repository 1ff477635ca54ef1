"""``antifragile ablate run``: train generated variants on paired seeds."""

from __future__ import annotations

import shlex
import sys

from antifragile.ablate.designs.registry import DesignName, looks_until
from antifragile.ablate.request import parse_size
from antifragile.ablate.sandbox.server import Limits
from antifragile.ablate.study.folder import choose_arms, read_ablation_folder
from antifragile.ablate.study.manifest import AblationManifest, load_manifest, write_manifest
from antifragile.ablate.study.repeat import differences, repeat_folder, repeat_request
from antifragile.ablate.study.request import AblationRequest, Experiment, TrainingProtocol
from antifragile.ablate.study.results import read_results
from antifragile.ablate.study.runs import AblationProgress
from antifragile.ablate.study.server import StudyProcesses
from antifragile.ablate.study.study import AblationOutcome, run_ablation
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
from antifragile.report.ablation.tables import ablation_tables
from antifragile.report.table import as_rich
from antifragile.store.ablation import AblationStore

_LINE_EVERY_S = 10.0


def run(
    folder: FolderArgument,
    experiment: ExperimentOption = None,
    dataset: DatasetOption = None,
    seeds: SeedsOption = 10,
    first_seed: FirstSeedOption = 1,
    protocol: ProtocolOption = "retrain",
    design: DesignOption = DesignName.LEAVE_ONE_OUT,
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
    most_seeds = (max_seeds or 3 * seeds) if adaptive else seeds
    looks = looks_until(seeds, most_seeds) if adaptive else ()
    judgement = Judgement(alpha=alpha, margin=margin, looks=max(1, len(looks)))
    wanted_kinds = [word.strip() for word in kinds.split(",")] if kinds else []
    then = None
    if manifest is not None:
        then = load_manifest(manifest)
        repeat_folder(then, folder, workers=workers)
    limits = Limits(timeout_s=timeout, memory_bytes=parse_size(memory))
    made = read_ablation_folder(folder)
    if then is not None:
        request = repeat_request(then, made, name=name, only=only or [], kinds=wanted_kinds)
    else:
        options = TrainerOptions(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
        is_both = protocol == "both"
        request = AblationRequest(
            name=name,
            arms=choose_arms(made, design, only or [], wanted_kinds),
            experiment=Experiment.chosen(experiment, dataset, options),
            seeds=range(first_seed, first_seed + most_seeds),
            protocols=tuple(TrainingProtocol) if is_both else (TrainingProtocol(protocol),),
            design=design,
            judgement=judgement,
            looks=looks,
            metric=metric,
            higher_is_better=None if direction is None else direction == "higher",
        )
    with AblationStore(store or str(folder / "ablation.db")) as opened, _ProgressLine() as line:
        outcome = run_ablation(
            request,
            made,
            opened,
            processes=StudyProcesses(workers=workers, limits=limits),
            listener=line,
            command=f"antifragile {shlex.join(sys.argv[1:])}",
        )
    if then is None:
        write_manifest(outcome.manifest, folder)
    _print_outcome(outcome, then, as_json=as_json)


def _print_outcome(
    outcome: AblationOutcome, then: AblationManifest | None, *, as_json: bool
) -> None:

    if as_json:
        print_json(outcome.manifest.to_json())
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


class _ProgressLine:
    """A listener that rewrites one line on a terminal; elsewhere it prints one every 10 s."""

    def __init__(self) -> None:
        self._console = stderr()
        self._at = float("-inf")

    def __enter__(self) -> _ProgressLine:
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
        elif progress.seconds - self._at >= _LINE_EVERY_S:
            self._at = progress.seconds
            self._console.print(line, markup=False, soft_wrap=True)
