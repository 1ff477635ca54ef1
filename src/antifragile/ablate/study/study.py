"""Running an ablation study: ask the design, look in the store, run what is missing, ask again.

    one run of the baseline           says at once what is wrong with the experiment
    while the design wants runs:
        certify the combinations among them that have no certificate
        take those that the store has
        run the others in processes of their own, in random order, storing each as it ends

Designs are asked again because some decide as they go: racing, or further seeds where a verdict is
open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import combinations, count

import pandas as pd

from antifragile._shown import in_short, show_path
from antifragile.ablate.certify.certificate import open_server
from antifragile.ablate.designs.base import BASELINE, Request
from antifragile.ablate.designs.registry import DesignName, design_traits, make_design
from antifragile.ablate.frameworks.registry import framework_named
from antifragile.ablate.generation.digests import CERTIFICATE
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.study.folder import AblationFolder
from antifragile.ablate.study.manifest import (
    AblationManifest,
    Machine,
    ManifestProject,
    ManifestRun,
    package_versions,
    with_metrics,
)
from antifragile.ablate.study.manifest_files import manifest_file
from antifragile.ablate.study.request import (
    AblationRequest,
    PlannedRun,
    Role,
    TrainingProtocol,
    is_higher_better,
)
from antifragile.ablate.study.results import turned_values
from antifragile.ablate.study.running.combinations import Combinations
from antifragile.ablate.study.running.first import run_first
from antifragile.ablate.study.running.outlook import AblationOutlook, outlook_of
from antifragile.ablate.study.running.runs import AblationListener, AblationRuns
from antifragile.ablate.study.server import (
    StudyProcesses,
    describe_environment,
    open_study_copies,
    open_study_server,
)
from antifragile.errors import UsageError
from antifragile.store.ablation import AblationStore
from antifragile.store.owner import OwnedKind

N_REPEATS = 2  # seeds whose baseline runs twice
_NAN = float("nan")


@dataclass(frozen=True, kw_only=True, repr=False)
class AblationOutcome:
    """The result of one call.

    Args:
        manifest: The study with all its runs.
        n_run: Runs that this call started.
        n_found: Runs that the store had.
        n_failed: Runs that failed in this call.
        n_refused: Runs that were not started, as their combination has no certificate.
        seconds: Wall time.
        notes: Sentences about what the runs did beside their numbers.
    """

    manifest: AblationManifest
    n_run: int
    n_found: int
    n_failed: int
    n_refused: int
    seconds: float
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        holds = f"{self.manifest.name!r}, {len(self.manifest.runs)} runs, {self.n_failed} failed"
        return in_short(self, holds, "a row for each")

    def frame(self) -> pd.DataFrame:
        """The runs, one a row, with a column for each of their metrics."""
        rows = [
            {
                "ablated": " + ".join(run.ablated),
                "seed": run.seed,
                "protocol": run.protocol.value,
                "role": run.role.value,
                **(run.metrics or {}),
                "failure": run.failure or "",
                "seconds": run.seconds,
            }
            for run in self.manifest.runs
        ]
        return pd.DataFrame(rows)


def run_ablation(
    request: AblationRequest,
    folder: AblationFolder,
    store: AblationStore,
    *,
    processes: StudyProcesses | None = None,
    listener: AblationListener | None = None,
    command: str = "",
) -> AblationOutcome:
    """Run the missing runs of a study.

    Args:
        request: The study.
        folder: Its variants.
        store: Store in which runs are looked up and put.
        processes: Where jobs run; None for one process at a time.
        listener: Called after every run.
        command: The command that started the study, for the manifest.

    Raises:
        UsageError: The experiment fails on the baseline, or lacks the metric; a combination without
            which the design says nothing may not run.
        CombineError: Ablations of the design clash.
    """
    with _opened(request, folder, store, processes or StudyProcesses(), listener) as study:
        return study.run(command)


def plan_ablation(
    request: AblationRequest,
    folder: AblationFolder,
    store: AblationStore,
    *,
    processes: StudyProcesses | None = None,
) -> AblationOutlook:
    """Say which runs a study needs, without running any; arguments and errors as `run_ablation`."""
    with _opened(request, folder, store, processes or StudyProcesses(), None) as study:
        return study.outlook()


@contextmanager
def _opened(
    request: AblationRequest,
    folder: AblationFolder,
    store: AblationStore,
    where: StudyProcesses,
    listener: AblationListener | None,
) -> Iterator[_Study]:
    """Check a study, and open all that its runs need."""
    _check_framework(request, folder)
    _check_combinations(request, folder)
    if TrainingProtocol.POST_HOC in request.protocols:
        request.experiment.check_evaluates()
    with ExitStack() as opened:
        owner = opened.enter_context(store.owned(OwnedKind.ABLATION, request.name))

        @cache
        def certifier() -> Server:
            return where.certifier or opened.enter_context(
                open_server(workers=where.workers, framework=folder.framework)
            )

        server = where.server or opened.enter_context(open_study_server(request, folder, where))
        environment = describe_environment(folder, server, request.device)
        copies = opened.enter_context(open_study_copies(folder))
        if copies.change and request.experiment.command is not None:
            raise UsageError(
                f"{copies.change}, and a command runs on your files as they are; run 'antifragile "
                "ablate generate' again."
            )
        opened.enter_context(server.stopping_jobs())
        server.note(copies.copies.note)
        combined = Combinations(folder, copies, certifier)
        runs = AblationRuns(
            request,
            store,
            owner,
            server,
            environment,
            combined,
            listener,
            is_confined=where.is_confined,
            fails_fast=where.fails_fast,
        )
        runs.keys.say_of_files()
        yield _Study(runs, where.workers)


def _check_framework(request: AblationRequest, folder: AblationFolder) -> None:
    trains = framework_named(folder.framework).trains_data_sets
    if request.experiment.dataset is not None and not trains:
        raise UsageError(
            f"--dataset trains PyTorch models, and those of {folder.path} are of "
            f"{folder.framework}; give --experiment FILE.py:run."
        )


def _check_combinations(request: AblationRequest, folder: AblationFolder) -> None:
    """Find clashes before anything runs, where a design needs all of its combinations."""
    if not design_traits(request.design).row_components:
        for pair in combinations(request.arms, 2):
            if not (folder.place(pair) / CERTIFICATE).exists():
                folder.combination(pair)


class _Study:
    """A study under way."""

    def __init__(self, runs: AblationRuns, workers: int) -> None:
        self.workers = workers
        self.runs, self.request, self.metric = runs, runs.request, runs.request.metric
        self.design = make_design(
            self.request.design,
            self.request.arms,
            self.request.seeds,
            judgement=self.request.judgement,
            looks=self.request.looks,
        )

    def run(self, command: str) -> AblationOutcome:
        runs = self.runs
        runs.expect([*self._always_wanted(), *self._wanted()])
        # Until the baseline has a number, an older manifest of that name stays.
        self.metric = run_first(runs, self.workers)
        try:
            runs.complete(self._checks())
            while wanted := self._wanted():
                self._certify(wanted)
                runs.complete(wanted)
        finally:
            manifest = self._write_manifest(command)
        return AblationOutcome(
            manifest=with_metrics(manifest, runs.store),
            n_run=runs.n_run,
            n_found=runs.n_found,
            n_failed=runs.n_failed,
            n_refused=runs.n_refused,
            seconds=runs.seconds,
            notes=(*runs.notes, *runs.server.notes),
        )

    def outlook(self) -> AblationOutlook:
        """Look which runs are wanted, as far as what the store has decides it."""
        runs = self.runs
        plans = dict.fromkeys(self._always_wanted())
        while wanted := [plan for plan in self._wanted() if plan not in runs.ended]:
            plans |= dict.fromkeys(wanted)
            ended = runs.find(wanted)
            runs.ended |= ended
            if len(ended) < len(wanted):
                break
        return outlook_of(runs, list(plans), runs.find(plans))

    def _write_manifest(self, command: str) -> AblationManifest:
        runs, request, folder = self.runs, self.request, self.runs.folder
        manifest = AblationManifest(
            name=request.name,
            file=manifest_file(request.name),
            command=command,
            versions=package_versions(runs.environment),
            environment=runs.environment,
            machine=Machine.here(),
            framework=folder.framework,
            folder=show_path(folder.path),
            project=ManifestProject.of(folder.project),
            experiment=request.experiment,
            metric=self.metric or "",
            higher_is_better=self._is_higher_better(),
            protocols=tuple(request.protocols),
            design=request.design,
            seeds=tuple(request.seeds),
            looks=tuple(request.looks),
            judgement=request.judgement,
            baseline_sha256=runs.combinations.sha256(BASELINE),
            arms=tuple(folder.arm(name) for name in request.arms),
            n_certified=len(folder.arms),
            left_out=folder.left_out,
            combinations=tuple(sorted(runs.combinations.judged.values(), key=lambda c: c.ablated)),
            runs=tuple(ManifestRun.of(plan, runs.keys[plan]) for plan in runs.ended),
        )
        runs.store.put_manifest(manifest.to_json(), owner=runs.owner)
        return manifest

    def _always_wanted(self) -> list[PlannedRun]:
        """The runs that no design decides: the first one, and the checks."""
        return [PlannedRun(ablated=BASELINE, seed=self.request.seeds[0]), *self._checks()]

    def _checks(self) -> list[PlannedRun]:
        """Baselines once more, and the placebo arm."""
        if TrainingProtocol.RETRAIN not in self.request.protocols:
            return []
        seeds = self.request.seeds[: (self.request.looks or (len(self.request.seeds),))[0]]
        again = [PlannedRun(ablated=BASELINE, seed=s, role=Role.REPEAT) for s in seeds[:N_REPEATS]]
        return again + [PlannedRun(ablated=BASELINE, seed=s, role=Role.PLACEBO) for s in seeds]

    def _wanted(self) -> list[PlannedRun]:
        wanted = []
        for protocol in self.request.protocols:
            requests = self.design.wanted(self._values(protocol))
            wanted += [PlannedRun(ablated=a, seed=s, protocol=protocol) for a, s in requests]
        return wanted

    def _certify(self, wanted: Sequence[PlannedRun]) -> None:
        """Judge the combinations among them, and say so if the rest cannot answer anything."""
        combined, runs = self.runs.combinations, self.runs
        asked = dict.fromkeys(plan.ablated for plan in wanted)  # in the order of the plan
        n_asked, ended = sum(len(configuration) > 1 for configuration in asked), count(1)

        def listen(label: str) -> None:
            runs.tell(next(ended), n_asked, label, what="combinations certified")

        combined.judge(asked, listen)
        refused = {c: reason for c in asked if (reason := combined.refusal(c))}
        for protocol in self.request.protocols:
            values = self._values(protocol)
            values |= {(p.ablated, p.seed): 0.0 for p in wanted if p.protocol is protocol}
            values |= {request: _NAN for request in values if request[0] in refused}
            if refused and not self.design.contrasts(values)["value"].notna().any():
                raise UsageError(_says_nothing(self.request.design, refused))

    def _values(self, protocol: TrainingProtocol) -> dict[Request, float]:
        sign = 1 if self._is_higher_better() else -1
        ended = self.runs.ended
        turned = turned_values(
            [run.metrics for run in ended.values()],
            self.metric or "",
            sign,
            replaces=self.design.traits.averages_runs,
        )
        return {
            (plan.ablated, plan.seed): value
            for plan, value in zip(ended, turned, strict=True)
            if plan.protocol is protocol and plan.role is Role.RUN
        }

    def _is_higher_better(self) -> bool:
        given = self.request.higher_is_better
        return is_higher_better(self.metric or "") if given is None else given


def _says_nothing(design: DesignName, refused: dict[frozenset[str], str]) -> str:
    """A sentence on the smallest combination that is missing, and what to do."""
    smallest = min(refused, key=lambda c: (len(c), sorted(c)))
    others = len(refused) - 1
    return (
        f"design {design} needs combinations that may not run: {' + '.join(sorted(smallest))} is "
        f"{refused[smallest]}{f'; so are {others} more' if others else ''}. Choose other "
        "components with --only, or another design."
    )
