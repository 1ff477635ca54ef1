"""Running an ablation study: ask the design, look in the store, run what is missing, ask again.

    while the design wants runs:
        take those that the store has
        run the others in processes of their own, in random order, storing each as it ends

A run that failed counts as failed for the rest of this call, so that a design can go on without it,
and is tried again, alone, by the next call. The post-hoc protocol needs trained baselines: they are
kept beside the store, and a seed's baseline is trained again only if its file is gone.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from antifragile._files import make_folder
from antifragile.analysis.design_choice import make_design
from antifragile.analysis.designs import BASELINE, Design, DesignName, Request
from antifragile.codegen.server import Job, Limits, Outcome, Server
from antifragile.errors import UsageError
from antifragile.store import Environment
from antifragile.store.ablation import AblationRun, AblationStore
from antifragile.study.machine import current_environment
from antifragile.study.runner import default_files
from antifragile.workflows.ablation_folder import AblationFolder
from antifragile.workflows.ablation_manifest import make_manifest, with_metrics
from antifragile.workflows.ablation_outcome import AblationOutcome, AblationProgress, Listener
from antifragile.workflows.ablation_plan import (
    AblationRequest,
    PlannedRun,
    Protocol,
    Role,
    is_higher_better,
)

# Optimizers import torch._dynamo when first used, a second of work; here it is done once.
PRELOAD = ("torch", "torch._dynamo", "antifragile.workflows.ablation_job")
PRELOAD_DATASET = ("antifragile.workflows.ablation_trainer", "sklearn.datasets")
N_REPEATS = 2  # seeds whose baseline runs twice


@dataclass
class _Ledger:
    """The study's runs that ended, by plan."""

    runs: dict[PlannedRun, AblationRun] = field(default_factory=dict)
    keys: dict[PlannedRun, str] = field(default_factory=dict)
    n_run: int = 0
    n_found: int = 0
    n_failed: int = 0


def run_ablation(
    request: AblationRequest,
    folder: AblationFolder,
    store: AblationStore,
    *,
    server: Server | None = None,
    workers: int = 1,
    limits: Limits | None = None,
    listener: Listener | None = None,
    command: str = "",
) -> AblationOutcome:
    """Run what a study lacks.

    Args:
        request: The study.
        folder: Its variants.
        store: Where runs are looked for and put.
        server: Runs the jobs; None to start one for this study.
        workers: Processes at a time, one thread each, of a server that is started.
        limits: Time and memory of one run.
        listener: Called after every run.
        command: That started it, for the manifest.

    Raises:
        UsageError: The experiment fails on the baseline, or lacks the metric.
        CombineError: Ablations of the design clash.
    """
    _check_combinations(request, folder)
    if Protocol.POST_HOC in request.protocols:
        request.experiment.check_evaluates()
    if server is not None:
        return _Study(request, folder, store, server, listener).run(command)
    with open_study_server(request, workers=workers, limits=limits) as started:
        return _Study(request, folder, store, started, listener).run(command)


def open_study_server(
    request: AblationRequest, *, workers: int = 1, limits: Limits | None = None
) -> Server:
    """Start the server of a study; arguments as `run_ablation`."""
    preload = (*PRELOAD, *(PRELOAD_DATASET if request.experiment.dataset else ()))
    return Server(workers=workers, limits=limits or Limits(timeout_s=3600), preload=preload)


def _check_combinations(request: AblationRequest, folder: AblationFolder) -> None:
    """Find clashes before anything runs; the edits of any two must go together."""
    if request.design is not DesignName.LEAVE_ONE_OUT:
        for pair in combinations(request.arms, 2):
            folder.place(pair)


class _Study:
    """A study on its way."""

    def __init__(
        self,
        request: AblationRequest,
        folder: AblationFolder,
        store: AblationStore,
        server: Server,
        listener: Listener | None,
    ) -> None:
        self.request, self.folder, self.store = request, folder, store
        self.server, self.listener = server, listener
        self.environment: Environment = current_environment(kernel="experiment")
        self.ledger, self.started = _Ledger(), time.monotonic()
        self.metric = request.metric
        self.kept = default_files(store, request.name)
        designs = request.protocols
        self.designs: dict[Protocol, Design] = {p: self._design() for p in designs}

    def _design(self) -> Design:
        request = self.request
        return make_design(
            request.design,
            request.arms,
            request.seeds,
            judgement=request.judgement,
            looks=request.looks,
        )

    def run(self, command: str) -> AblationOutcome:
        try:
            self._first_baseline()
            self._complete(self._checks())
            while wanted := self._wanted():
                self._complete(wanted)
        finally:
            manifest = self._write_manifest(command)
        return AblationOutcome(
            manifest=with_metrics(manifest, self.store),
            n_run=self.ledger.n_run,
            n_found=self.ledger.n_found,
            n_failed=self.ledger.n_failed,
            seconds=time.monotonic() - self.started,
        )

    def _write_manifest(self, command: str) -> dict[str, Any]:
        manifest = make_manifest(
            self.request,
            self.folder,
            environment=self.environment,
            metric=self.metric or "",
            higher_is_better=self._is_higher_better(),
            runs=[(plan, self.ledger.keys[plan]) for plan in self.ledger.runs],
            command=command,
        )
        self.store.put_manifest(self.request.name, manifest)
        return manifest

    def _first_baseline(self) -> None:
        """One run before all others: it says at once what is wrong with the experiment."""
        first = PlannedRun(ablated=BASELINE, seed=self.request.seeds[0])
        listener, self.listener = self.listener, None  # a failure here is an error, not progress
        self._complete([first])
        self.listener = listener
        run = self.ledger.runs[first]
        if run.metrics is None:
            raise UsageError(f"the experiment fails on the baseline: {run.failure}.")
        self.metric = self.metric or next(iter(run.metrics))
        if self.metric not in run.metrics:
            raise UsageError(
                f"the experiment returns no metric {self.metric!r}; it returns "
                f"{', '.join(run.metrics)}."
            )

    def _checks(self) -> list[PlannedRun]:
        """Baselines once more, and the placebo arm."""
        if Protocol.RETRAIN not in self.request.protocols:
            return []
        seeds = self.request.seeds[: (self.request.looks or (len(self.request.seeds),))[0]]
        again = [PlannedRun(ablated=BASELINE, seed=s, role=Role.REPEAT) for s in seeds[:N_REPEATS]]
        return again + [PlannedRun(ablated=BASELINE, seed=s, role=Role.PLACEBO) for s in seeds]

    def _wanted(self) -> list[PlannedRun]:
        wanted = []
        for protocol, design in self.designs.items():
            requests = design.wanted(self._values(protocol))
            wanted += [PlannedRun(ablated=a, seed=s, protocol=protocol) for a, s in requests]
        return wanted

    def _values(self, protocol: Protocol) -> dict[Request, float]:
        sign = 1 if self._is_higher_better() else -1
        return {
            (plan.ablated, plan.seed): sign * (run.metrics or {}).get(self.metric or "", _NAN)
            for plan, run in self.ledger.runs.items()
            if plan.protocol is protocol and plan.role is Role.RUN
        }

    def _is_higher_better(self) -> bool:
        given = self.request.higher_is_better
        return is_higher_better(self.metric or "") if given is None else given

    def _complete(self, plans: Sequence[PlannedRun]) -> None:
        """Take from the store what it has, run the rest."""
        for plan in plans:
            self.ledger.keys[plan] = plan.key(
                self.folder, self.request.experiment, self.environment
            )
        found = self.store.ablation_runs(self.ledger.keys[plan] for plan in plans)
        missing = []
        for plan in plans:
            run = found.get(self.ledger.keys[plan])
            if run is None or run.metrics is None:
                missing.append(plan)
            else:
                self.ledger.runs[plan] = run
                self.ledger.n_found += 1
        trained = self._without_trained(missing)
        self._run_jobs(trained, wanted=len(missing))
        others = [plan for plan in missing if plan not in trained]
        random.Random(len(self.ledger.runs)).shuffle(others)
        self._run_jobs(others, wanted=len(others))

    def _without_trained(self, missing: Iterable[PlannedRun]) -> list[PlannedRun]:
        """Baselines to train because a post-hoc run needs their values and nobody kept them."""
        seeds = dict.fromkeys(p.seed for p in missing if p.protocol is Protocol.POST_HOC)
        plans = [PlannedRun(ablated=BASELINE, seed=seed) for seed in seeds]
        return [plan for plan in plans if not self._kept_file(plan).exists()]

    def _run_jobs(self, plans: Sequence[PlannedRun], *, wanted: int) -> None:
        if not plans:
            return
        with tempfile.TemporaryDirectory(prefix="antifragile-ablation-") as scratch:
            jobs = [self._job(plan, Path(scratch) / str(n)) for n, plan in enumerate(plans)]
            for ended, (position, outcome) in enumerate(self.server.run(jobs), start=1):
                self._record(plans[position], outcome)
                if self.listener is not None:
                    self.listener(self._progress(ended, max(wanted, len(plans)), plans[position]))

    def _progress(self, ended: int, wanted: int, plan: PlannedRun) -> AblationProgress:
        return AblationProgress(
            ended=ended,
            wanted=wanted,
            failed=self.ledger.n_failed,
            last=f"{plan.label}, seed {plan.seed}, {plan.protocol}",
            seconds=time.monotonic() - self.started,
        )

    def _record(self, plan: PlannedRun, outcome: Outcome) -> None:
        key = self.ledger.keys.setdefault(
            plan, plan.key(self.folder, self.request.experiment, self.environment)
        )
        run = AblationRun(
            run_key=key,
            arm=plan.label,
            protocol=plan.protocol,
            seed=plan.seed,
            metrics=None if outcome.failure else outcome.value,
            failure=outcome.reason if outcome.failure else None,
            seconds=outcome.seconds,
        )
        self.store.put_ablation_run(run, self.environment)
        self.ledger.runs[plan] = run
        self.ledger.n_run += 1
        self.ledger.n_failed += outcome.failure is not None

    def _job(self, plan: PlannedRun, scratch: Path) -> Job:
        names = sorted(plan.ablated)
        place = self.folder.place(names).resolve()
        trained = PlannedRun(ablated=BASELINE, seed=plan.seed)
        is_post_hoc = plan.protocol is Protocol.POST_HOC
        keeps = not is_post_hoc and plan == trained and Protocol.POST_HOC in self.request.protocols
        if keeps:
            make_folder(self.kept)
        return Job(
            target="antifragile.workflows.ablation_job:run_job",
            folder=str(Path.cwd()),
            paths=(str(place),),
            arguments={
                "project": asdict(self.folder.project),
                "folder": str(place),
                "baseline": str(self.folder.place([]).resolve()),
                "experiment": self.request.experiment.to_job(),
                "seeds": plan.seeds(),
                "scratch": str(scratch),
                "trained": str(self._kept_file(trained)) if is_post_hoc else None,
                "keep": str(self._kept_file(plan)) if keeps else None,
                "cut": list(self.folder.cut_parameters(names)),
            },
        )

    def _kept_file(self, plan: PlannedRun) -> Path:
        key = plan.key(self.folder, self.request.experiment, self.environment)
        return (self.kept / f"{key[:32]}.safetensors").resolve()


_NAN = float("nan")
