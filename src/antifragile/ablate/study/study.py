"""Running an ablation study: ask the design, look in the store, run what is missing, ask again.

    one run of the baseline           says at once what is wrong with the experiment
    while the design wants runs:
        certify the combinations among them that have no certificate
        take those that the store has
        run the others in processes of their own, in random order, storing each as it ends

What is asked again is what a design decides by: racing, or further seeds where a verdict is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import combinations
from typing import Any

import numpy as np

from antifragile.ablate.designs.base import BASELINE, Design, DesignName, Request
from antifragile.ablate.designs.choice import make_design
from antifragile.ablate.frameworks.registry import framework_named
from antifragile.ablate.sandbox.server import Limits, Server
from antifragile.ablate.study.combinations import Combinations
from antifragile.ablate.study.folder import AblationFolder
from antifragile.ablate.study.manifest import make_manifest, with_metrics
from antifragile.ablate.study.outcome import AblationOutcome, AblationProgress, Listener
from antifragile.ablate.study.request import (
    AblationRequest,
    PlannedRun,
    Protocol,
    Role,
    is_higher_better,
)
from antifragile.ablate.study.runs import AblationRuns
from antifragile.ablate.study.server import describe_environment, open_study_server
from antifragile.errors import UsageError
from antifragile.store.ablation import AblationStore

N_REPEATS = 2  # seeds whose baseline runs twice
_NAN = float("nan")


def run_ablation(
    request: AblationRequest,
    folder: AblationFolder,
    store: AblationStore,
    *,
    server: Server | None = None,
    certifier: Server | None = None,
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
        certifier: Certifies combinations; None to start one if there are new ones.
        workers: Processes at a time, one thread each, of a server that is started.
        limits: Time and memory of one run.
        listener: Called after every run.
        command: That started it, for the manifest.

    Raises:
        UsageError: The experiment fails on the baseline, or lacks the metric; a combination without
            which the design says nothing may not run.
        CombineError: Ablations of the design clash.
    """
    _check_framework(request, folder)
    _check_combinations(request, folder)
    if Protocol.POST_HOC in request.protocols:
        request.experiment.check_evaluates()
    with ExitStack() as opened:
        combined = opened.enter_context(Combinations(folder, workers=workers, server=certifier))
        if server is None:
            started = open_study_server(request, folder, workers=workers, limits=limits)
            server = opened.enter_context(started)
        environment = describe_environment(folder, server)
        runs = AblationRuns(request, folder, store, server, environment, combined, listener)
        return _Study(runs).run(command)


def _check_framework(request: AblationRequest, folder: AblationFolder) -> None:
    trains = framework_named(folder.framework).trains_data_sets
    if request.experiment.dataset is not None and not trains:
        raise UsageError(
            f"--dataset trains PyTorch models, and those of {folder.path} are of "
            f"{folder.framework}; give --experiment FILE.py:run."
        )


def _check_combinations(request: AblationRequest, folder: AblationFolder) -> None:
    """Find clashes before anything runs; pairs are wanted one by one, others only together."""
    if request.design not in (DesignName.LEAVE_ONE_OUT, DesignName.PAIRWISE):
        for pair in combinations(request.arms, 2):
            folder.place(pair)


class _Study:
    """A study on its way."""

    def __init__(self, runs: AblationRuns) -> None:
        self.runs, self.request, self.metric = runs, runs.request, runs.request.metric
        self.designs: dict[Protocol, Design] = {p: self._design() for p in self.request.protocols}

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
        runs = self.runs
        try:
            self._first_baseline()
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
        )

    def _write_manifest(self, command: str) -> dict[str, Any]:
        runs = self.runs
        manifest = make_manifest(
            self.request,
            runs.folder,
            environment=runs.environment,
            metric=self.metric or "",
            higher_is_better=self._is_higher_better(),
            runs=[(plan, runs.keys[plan]) for plan in runs.ended],
            combinations=runs.combinations.records(),
            command=command,
        )
        runs.store.put_manifest(self.request.name, manifest)
        return manifest

    def _first_baseline(self) -> None:
        """One run before all others: a failure here is an error, not progress."""
        first = PlannedRun(ablated=BASELINE, seed=self.request.seeds[0])
        self.runs.complete([first], quietly=True)
        run = self.runs.ended[first]
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

    def _certify(self, wanted: Sequence[PlannedRun]) -> None:
        """Judge the combinations among them, and say so if the rest cannot answer anything."""
        combined, runs = self.runs.combinations, self.runs
        asked = {plan.ablated for plan in wanted}
        ended = 0

        def listen(label: str) -> None:
            nonlocal ended
            ended += 1
            if runs.listener is not None:
                runs.listener(
                    AblationProgress(
                        ended=ended,
                        wanted=sum(len(configuration) > 1 for configuration in asked),
                        failed=0,
                        last=label,
                        seconds=runs.seconds,
                        what="combinations certified",
                    )
                )

        combined.judge(asked, listen)
        refused = {c: reason for c in asked if (reason := combined.refusal(c))}
        for protocol, design in self.designs.items():
            values = self._values(protocol)
            values |= {(p.ablated, p.seed): 0.0 for p in wanted if p.protocol is protocol}
            values |= {request: _NAN for request in values if request[0] in refused}
            if refused and not np.isfinite(design.contrasts(values)["value"]).any():
                raise UsageError(_says_nothing(self.request.design, refused))

    def _values(self, protocol: Protocol) -> dict[Request, float]:
        sign = 1 if self._is_higher_better() else -1
        return {
            (plan.ablated, plan.seed): sign * (run.metrics or {}).get(self.metric or "", _NAN)
            for plan, run in self.runs.ended.items()
            if plan.protocol is protocol and plan.role is Role.RUN
        }

    def _is_higher_better(self) -> bool:
        given = self.request.higher_is_better
        return is_higher_better(self.metric or "") if given is None else given


def _says_nothing(design: DesignName, refused: dict[frozenset[str], str]) -> str:
    """Which combination is missing, and what to do."""
    smallest = min(refused, key=lambda c: (len(c), sorted(c)))
    others = len(refused) - 1
    return (
        f"design {design} needs combinations that may not run: {' + '.join(sorted(smallest))} is "
        f"{refused[smallest]}{f'; so are {others} more' if others else ''}. Choose other "
        "components with --only, or another design."
    )
