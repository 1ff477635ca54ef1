"""The runs of one ablation study: looked up in the store, or started and stored as they end.

A run whose key is known (see `keys`) is found in the store and not run again, whichever study asked
for it first.

A run that failed counts as failed for the rest of this call, so that a design can go on without it,
and is tried again, alone, by the next call. A combination of ablations that may not run is kept as
failed with the reason, and is never started. The post-hoc protocol needs trained baselines: they
are kept beside the store, and a seed's baseline is trained again only if its file is gone or
damaged, which a note says.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from antifragile._shown import sentence
from antifragile.ablate.designs.base import BASELINE
from antifragile.ablate.sandbox.answers import MalformedAnswer, take_file
from antifragile.ablate.sandbox.job import Failure, Job, Outcome
from antifragile.ablate.sandbox.limits.trees import remove_tree, scratch_folder
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.study.child.run import KEPT, RunArguments, run_job
from antifragile.ablate.study.request import (
    AblationRequest,
    PlannedRun,
    Role,
    TrainingProtocol,
    started_from,
    starts_from_kept,
)
from antifragile.ablate.study.running.combinations import Combinations
from antifragile.ablate.study.running.keys import READ_FILES, RunKeys
from antifragile.ablate.study.running.launches import CommandRuns
from antifragile.errors import AntifragileError, StoreError
from antifragile.store.ablation import AblationRun, AblationStore
from antifragile.store.owner import Ownership
from antifragile.store.records import Environment
from antifragile.study.folder import default_files, find_kept, seal

NOT_RUN = "not run, as the combination is"
_WORTH_A_FORK = 4  # runs from which on it pays to import their packages once


@dataclass(frozen=True, kw_only=True)
class AblationProgress:
    """The state of a study under way.

    Args:
        ended: Runs of the study that ended or were found, or combinations that were judged.
        wanted: Their number when all have ended.
        failed: Runs that failed in this call.
        last: The one that ended last, for people; empty before the first.
        seconds: Time since the call began.
        what: The counted thing, in words.
    """

    ended: int
    wanted: int
    failed: int
    last: str
    seconds: float
    what: str


class RunFailed(AntifragileError):
    """A run failed, and the study was to end with it."""


AblationListener = Callable[[AblationProgress], None]


class AblationRuns:
    """Runs that ended so far, and the means to run more.

    Args:
        request: The study.
        store: Store in which runs are looked up and put.
        owner: Claim to the study in the store.
        server: Server that runs the jobs.
        environment: Environment that all runs belong to.
        combinations: The variants, with verdicts on configurations that cut several arms.
        listener: Called after every run.
        is_confined: Whether a run writes in its own folders alone.
        fails_fast: Whether the first run that fails ends the study.
    """

    def __init__(
        self,
        request: AblationRequest,
        store: AblationStore,
        owner: Ownership,
        server: Server,
        environment: Environment,
        combinations: Combinations,
        listener: AblationListener | None,
        *,
        is_confined: bool = False,
        fails_fast: bool = False,
    ) -> None:
        self.request, self.folder, self.store = request, combinations.folder, store
        self.owner, self.server, self.environment = owner, server, environment
        self.combinations, self.listener = combinations, listener
        self._is_confined, self._fails_fast = is_confined, fails_fast
        self.ended: dict[PlannedRun, AblationRun] = {}
        self.planned: dict[PlannedRun, None] = {}  # wanted, as far as is known
        self._stored: set[PlannedRun] = set()  # planned, and in the store when the study began
        self.keys = RunKeys(request, store, environment, combinations)
        self.notes: list[str] = []
        self._kept_values: dict[PlannedRun, Path] = {}  # files that were checked or written
        self.n_run = self.n_found = self.n_failed = self.n_refused = 0
        self._kept, self._started = default_files(store, request.name), time.monotonic()
        command = request.experiment.command
        self.launches: CommandRuns | None = None
        if command is not None:
            self.launches = CommandRuns(
                command, self.folder, request.arms, self.keys, self._kept / "runs"
            )

    @property
    def seconds(self) -> float:
        """Seconds since the study began."""
        return time.monotonic() - self._started

    def expect(self, plans: Iterable[PlannedRun]) -> None:
        """Count these runs as planned, and as ended those that the store has.

        Of combinations that is known once they are certified.
        """
        self.planned |= dict.fromkeys(plans)
        single = [plan for plan in self.planned if len(plan.ablated) < 2]
        self._stored |= self.find(single).keys()

    def complete(self, plans: Sequence[PlannedRun]) -> None:
        """Take from the store what it has, run the rest."""
        self.planned |= dict.fromkeys(plans)
        missing = self._not_ended(plans)
        starts = started_from(missing, self.request.experiment)
        baselines = [plan for plan in starts if plan not in self._kept_values]
        first = [plan for plan in baselines if not self._find_kept(plan)]
        self.keys.say_of_older(missing)
        self._run_jobs(first)
        others = [plan for plan in missing if plan not in first]
        if first:  # now it is known which files they read
            others = self._not_ended(others)
        random.Random(len(self.ended)).shuffle(others)
        self._run_jobs(others)

    def find(self, plans: Iterable[PlannedRun]) -> dict[PlannedRun, AblationRun]:
        """Find those runs that the store has, with their numbers.

        It has none of combinations that nobody has written and certified yet.
        """
        there = [plan for plan in plans if self.folder.place(sorted(plan.ablated)).exists()]
        found = self.keys.look_up(there)
        return {plan: run for plan, run in found.items() if run.metrics is not None}

    def _not_ended(self, plans: Iterable[PlannedRun]) -> list[PlannedRun]:
        """Take the runs that the store has and those that may not run; return the others."""
        missing, found = [], self.keys.look_up(plans)
        for plan in plans:
            run = found.get(plan)
            if run is not None and run.metrics is not None:
                self.ended[plan] = run
                self.n_found += 1
            elif reason := self.combinations.refusal(plan.ablated):
                self._put(plan, None, f"{NOT_RUN} {reason}")
                self.n_refused += 1
            else:
                missing.append(plan)
        self._stored.difference_update(missing)
        return missing

    def _find_kept(self, plan: PlannedRun) -> bool:
        """Look for a baseline's trained values, and note if they should be there and are not."""
        fault, found, key = "", None, self.keys[plan]
        try:
            found = find_kept(self._kept_file(plan))
        except StoreError as error:
            fault = str(error)
        if found is not None:
            self._kept_values[plan] = found
        elif not fault and (run := self.store.ablation_runs([key]).get(key)) and run.metrics:
            fault = f"Its {self._what_is_kept} are not beside the store."
        if fault:
            self.notes.append(f"the baseline of seed {plan.seed} is trained again: {fault}")
        return found is not None

    def _run_jobs(self, plans: Sequence[PlannedRun]) -> None:
        if not plans:
            return
        self._tell_of_runs("")
        if self.launches is not None and len(plans) >= _WORTH_A_FORK:
            self._get_ready(self.launches)
        with scratch_folder("antifragile-ablation-") as folder:
            scratch = [folder / str(n) for n in range(len(plans))]
            jobs = [self._job(plan, place) for plan, place in zip(plans, scratch, strict=True)]
            for position, outcome in self.server.run(jobs):
                plan = plans[position]
                self._take(plan, outcome, scratch[position])
                if outcome.failure is None or len(self.ended) > 1:  # a first one is an error
                    last = f"{plan.label}, seed {plan.seed}, {plan.protocol}"
                    self._tell_of_runs(last)
                if self._fails_fast and (failure := self.ended[plan].failure):
                    raise RunFailed(
                        f"{plan.label}, seed {plan.seed}, failed, which ends the study: "
                        f"{sentence(failure)} What ended is stored."
                    )

    def _get_ready(self, launches: CommandRuns) -> None:
        """Let runs fork, by what a baseline's run of this call shows."""
        for plan, run in self.ended.items():
            if not plan.ablated and plan.role is Role.RUN and run.metrics is not None:
                launches.get_ready(plan, run.seconds, self.server)
                return

    def _take(self, plan: PlannedRun, outcome: Outcome, scratch: Path) -> None:
        """Store how a run ended, its trained values first: what is stored is not run again.

        Raises:
            UsageError: The experiment, or a file that the run read, was changed.
        """
        read: list[AblationRun] = []
        if outcome.failure is None:
            read = self._newly_read(plan, scratch, outcome.seconds)
            if self._keeps(plan):
                outcome = self._with_kept(plan, outcome, scratch / KEPT)
            if self.launches is not None and starts_from_kept(plan, self.request.experiment):
                self.notes += filter(None, [self.launches.unpaired_note(plan)])
        if outcome.failure is not None or self.launches is not None:
            self.request.experiment.check_unchanged()
        remove_tree(scratch)
        is_failed = outcome.failure is not None
        self.n_run += 1
        self.n_failed += is_failed
        failure = self.combinations.copies.explained(outcome.reason) if is_failed else None
        metrics = None if is_failed else outcome.value
        self._put(plan, metrics, failure, outcome.seconds, () if is_failed else read)

    def _newly_read(self, plan: PlannedRun, scratch: Path, seconds: float) -> list[AblationRun]:
        """Make the key of a run that read further files; the row that names them below its old key.

        The row is stored with the run's own or not at all: where files are named, a run has ended.

        Raises:
            UsageError: One was changed while the study ran.
        """
        new = self.keys.newly_read(plan, scratch, seconds)
        row = self._row(plan, READ_FILES, metrics=dict.fromkeys(new, 1.0))
        if new:
            self.keys.extend(plan, new)
        return [row] if new else []

    def _keeps(self, plan: PlannedRun) -> bool:
        """Whether a run's values are asked for: trained ones, or with a command initial ones."""
        is_baseline = plan == PlannedRun(ablated=BASELINE, seed=plan.seed)
        is_asked = TrainingProtocol.POST_HOC in self.request.protocols
        return is_baseline and (is_asked or self.launches is not None)

    @property
    def _what_is_kept(self) -> str:
        return "initial values" if self.launches is not None else "trained values"

    def _with_kept(self, plan: PlannedRun, outcome: Outcome, kept: Path) -> Outcome:
        """Keep a baseline's values; the run's outcome, a failure where they cannot be its own.

        What a model can hold in memory bounds their size.
        """
        try:
            most_bytes = self.server.limits.memory_bytes
            take_file(kept, self._kept_file(plan), most_bytes, f"its {self._what_is_kept}")
            self._kept_values[plan] = seal(self._kept_file(plan))
        except FileNotFoundError:
            return replace(
                outcome, failure=Failure.MALFORMED, reason=f"left no {self._what_is_kept}"
            )
        except MalformedAnswer as error:
            return replace(outcome, failure=Failure.MALFORMED, reason=str(error))
        return outcome

    def _tell_of_runs(self, last: str) -> None:
        ended = len(self.ended.keys() | self._stored)
        self.tell(ended, len(self.planned), last, failed=self.n_failed)

    def tell(
        self, ended: int, wanted: int, last: str, *, failed: int = 0, what: str = "runs"
    ) -> None:
        """Call the listener, if there is one; arguments as those of `AblationProgress`."""
        if self.listener is not None:
            progress = AblationProgress(
                ended=ended,
                wanted=wanted,
                failed=failed,
                last=last,
                seconds=self.seconds,
                what=what,
            )
            self.listener(progress)

    def _put(
        self,
        plan: PlannedRun,
        metrics: dict[str, float] | None,
        failure: str | None,
        seconds: float = 0.0,
        read: Sequence[AblationRun] = (),
    ) -> None:
        """Store how a run ended, with the rows that name the files it read."""
        run = self._row(plan, plan.protocol, metrics=metrics, failure=failure, seconds=seconds)
        self.store.put_ablation_runs([*read, run], self.environment, owner=self.owner)
        self.ended[plan] = run

    def _row(self, plan: PlannedRun, protocol: str, **ended: Any) -> AblationRun:
        """A row below a run's key as it is now."""
        return AblationRun(
            run_key=self.keys[plan], arm=plan.label, protocol=protocol, seed=plan.seed, **ended
        )

    def _job(self, plan: PlannedRun, scratch: Path) -> Job:
        """Prepare a run, and make the scratch folder that it may write in."""
        scratch.mkdir()
        if self.launches is not None:
            return self.launches.job(plan, scratch, self._start_of(plan), keeps=self._keeps(plan))
        names, copies = sorted(plan.ablated), self.combinations.copies
        code = copies.code(self.folder.place(names))
        arguments = RunArguments(
            project=asdict(self.folder.project),
            framework=self.folder.framework,
            folder=code.folder,
            baseline=copies.sources(self.folder.place([])) if names else (),
            experiment=self.request.experiment.to_job(),
            seeds=plan.seeds(),
            scratch=str(scratch),
            trained=self._start_of(plan),
            keeps=self._keeps(plan),
            cut=self.folder.cut_parameters(names),
            certified=self.combinations.certified(plan.ablated),
            certified_baseline=self.combinations.certified(BASELINE),
            own_values=self.folder.own_values(names),
            device=self.request.device,
        )
        return Job(
            target=run_job,
            folder=code.folder,
            paths=tuple(code.paths),
            arguments={"run": asdict(arguments)},
            script=code.script,
            copied_from=tuple(code.copied_from),
            is_confined=self._is_confined,
            writable=(str(scratch),),
        )

    def _start_of(self, plan: PlannedRun) -> str | None:
        """The file of the values that a run starts from; None where there is none."""
        if not starts_from_kept(plan, self.request.experiment):
            return None
        baseline = PlannedRun(ablated=BASELINE, seed=plan.seed)
        found = self._kept_values.get(baseline, self._kept_file(baseline))
        is_needed = plan.protocol is TrainingProtocol.POST_HOC
        return str(found) if is_needed or found.exists() else None

    def _kept_file(self, plan: PlannedRun) -> Path:
        return (self._kept / f"{self.keys[plan][:32]}.safetensors").resolve()
