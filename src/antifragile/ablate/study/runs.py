"""The runs of one ablation study: looked up in the store, or started and stored as they end.

A run's key is the hash of everything that decides its numbers: the variant's files, the baseline's
(the initial values come from it), the experiment with the local files it imports, protocol, seeds
and environment. A run with a known key is found in the store and not run again, whichever study
asked for it first.

A run that failed counts as failed for the rest of this call, so that a design can go on without it,
and is tried again, alone, by the next call. A combination of ablations that may not run is kept as
failed with the reason, and is never started. The post-hoc protocol needs trained baselines: they
are kept beside the store, and a seed's baseline is trained again only if its file is gone.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from antifragile.ablate.designs.base import BASELINE
from antifragile.ablate.sandbox.answers import MalformedAnswer, take_file
from antifragile.ablate.sandbox.job import Failure, Job, Outcome
from antifragile.ablate.sandbox.limits.trees import remove_tree, scratch_folder
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.study.combinations import Combinations
from antifragile.ablate.study.job import KEPT, RunArguments, run_job
from antifragile.ablate.study.request import AblationRequest, PlannedRun, Role, TrainingProtocol
from antifragile.store.ablation import AblationRun, AblationStore
from antifragile.store.owner import Ownership
from antifragile.store.records import Environment
from antifragile.study.folder import default_files

NOT_RUN = "not run, as the combination is"


@dataclass(frozen=True, kw_only=True)
class AblationProgress:
    """The state of a study under way.

    Args:
        ended: Runs that ended, or combinations that were judged.
        wanted: Their number when all have ended.
        failed: Runs that failed in this call.
        last: The one that ended last, for people.
        seconds: Time since the call began.
        what: The counted thing, in words.
    """

    ended: int
    wanted: int
    failed: int
    last: str
    seconds: float
    what: str


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
    ) -> None:
        self.request, self.folder, self.store = request, combinations.folder, store
        self.owner, self.server, self.environment = owner, server, environment
        self.combinations, self.listener = combinations, listener
        self._is_confined = is_confined
        self.ended: dict[PlannedRun, AblationRun] = {}
        self.keys: dict[PlannedRun, str] = {}
        self.n_run = self.n_found = self.n_failed = self.n_refused = 0
        self._kept, self._started = default_files(store, request.name), time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the study began."""
        return time.monotonic() - self._started

    def complete(self, plans: Sequence[PlannedRun], *, quietly: bool = False) -> None:
        """Take from the store what it has, run the rest.

        Args:
            plans: The wanted runs.
            quietly: Do not tell the listener.
        """
        for plan in plans:
            self.keys[plan] = self._key(plan)
        found = self.store.ablation_runs(self.keys[plan] for plan in plans)
        missing = []
        for plan in plans:
            run = found.get(self.keys[plan])
            if run is not None and run.metrics is not None:
                self.ended[plan] = run
                self.n_found += 1
            elif reason := self.combinations.refusal(plan.ablated):
                self._put(plan, None, f"{NOT_RUN} {reason}")
                self.n_refused += 1
            else:
                missing.append(plan)
        trained = self._without_trained(missing)
        self._run_jobs(trained, wanted=len(missing), quietly=quietly)
        others = [plan for plan in missing if plan not in trained]
        random.Random(len(self.ended)).shuffle(others)
        self._run_jobs(others, wanted=len(others), quietly=quietly)

    def _without_trained(self, missing: Iterable[PlannedRun]) -> list[PlannedRun]:
        """Baselines to train because a post-hoc run needs their values and nobody kept them."""
        seeds = dict.fromkeys(p.seed for p in missing if p.protocol is TrainingProtocol.POST_HOC)
        plans = [PlannedRun(ablated=BASELINE, seed=seed) for seed in seeds]
        return [plan for plan in plans if not self._kept_file(plan).exists()]

    def _run_jobs(self, plans: Sequence[PlannedRun], *, wanted: int, quietly: bool) -> None:
        if not plans:
            return
        with scratch_folder("antifragile-ablation-") as folder:
            scratch = [folder / str(n) for n in range(len(plans))]
            jobs = [self._job(plan, place) for plan, place in zip(plans, scratch, strict=True)]
            for ended, (position, outcome) in enumerate(self.server.run(jobs), start=1):
                plan = plans[position]
                self._take(plan, outcome, scratch[position])
                if not quietly:
                    last = f"{plan.label}, seed {plan.seed}, {plan.protocol}"
                    self.tell(ended, max(wanted, len(plans)), last, failed=self.n_failed)

    def _take(self, plan: PlannedRun, outcome: Outcome, scratch: Path) -> None:
        """Store how a run ended, its trained values first: what is stored is not run again."""
        if outcome.failure is None and self._keeps(plan):
            outcome = self._with_trained(plan, outcome, scratch / KEPT)
        remove_tree(scratch)
        is_failed = outcome.failure is not None
        self.n_run += 1
        self.n_failed += is_failed
        failure = self.combinations.copies.explained(outcome.reason) if is_failed else None
        self._put(plan, None if is_failed else outcome.value, failure, outcome.seconds)

    def _keeps(self, plan: PlannedRun) -> bool:
        """Whether a run's trained values are asked for."""
        is_trained_baseline = plan == PlannedRun(ablated=BASELINE, seed=plan.seed)
        return is_trained_baseline and TrainingProtocol.POST_HOC in self.request.protocols

    def _with_trained(self, plan: PlannedRun, outcome: Outcome, kept: Path) -> Outcome:
        """Keep the trained values; the run's outcome, a failure where they cannot be its own.

        What a model can hold in memory bounds their size.
        """
        try:
            most_bytes = self.server.limits.memory_bytes
            take_file(kept, self._kept_file(plan), most_bytes, "its trained values")
        except FileNotFoundError:
            return replace(outcome, failure=Failure.MALFORMED, reason="left no trained values")
        except MalformedAnswer as error:
            return replace(outcome, failure=Failure.MALFORMED, reason=str(error))
        return outcome

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
    ) -> None:
        self.keys.setdefault(plan, self._key(plan))
        run = AblationRun(
            run_key=self.keys[plan],
            arm=plan.label,
            protocol=plan.protocol,
            seed=plan.seed,
            metrics=metrics,
            failure=failure,
            seconds=seconds,
        )
        self.store.put_ablation_run(run, self.environment, owner=self.owner)
        self.ended[plan] = run

    def _job(self, plan: PlannedRun, scratch: Path) -> Job:
        """Prepare a run, and make the scratch folder that it may write in."""
        scratch.mkdir()
        names, copies = sorted(plan.ablated), self.combinations.copies
        code = copies.code(self.folder.place(names))
        trained = PlannedRun(ablated=BASELINE, seed=plan.seed)
        is_post_hoc = plan.protocol is TrainingProtocol.POST_HOC
        arguments = RunArguments(
            project=asdict(self.folder.project),
            framework=self.folder.framework,
            folder=code.folder,
            baseline=copies.sources(self.folder.place([])) if names else (),
            experiment=self.request.experiment.to_job(),
            seeds=plan.seeds(),
            scratch=str(scratch),
            trained=str(self._kept_file(trained)) if is_post_hoc else None,
            keeps=self._keeps(plan),
            cut=self.folder.cut_parameters(names),
            certified=self.combinations.certified(plan.ablated),
            own_values=self.folder.own_values(names),
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

    def _kept_file(self, plan: PlannedRun) -> Path:
        return (self._kept / f"{self._key(plan)[:32]}.safetensors").resolve()

    def _key(self, plan: PlannedRun) -> str:
        build = self.folder.project.build
        what = {
            "source": self.combinations.sha256(plan.ablated),
            "baseline": self.combinations.sha256(BASELINE),
            "build": [build.file, build.function],
            "cut": self.folder.cut_parameters(sorted(plan.ablated)),
            "experiment": self.request.experiment.sha256,
            "protocol": plan.protocol,
            "seeds": plan.seeds(),
            "environment": self.environment.environment_id,
            "again": plan.role is Role.REPEAT,
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
