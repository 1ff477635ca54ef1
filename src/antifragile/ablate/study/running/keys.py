"""The keys of a study's runs: hashes of everything that decides their numbers.

A key covers the variant's files, the baseline's (the initial values come from it), the experiment
with the local files it imports, protocol, seeds, environment, and the other files that the run was
seen to read below the model's and the experiment's folder; their names are stored below the key of
all the rest. A run with a known key is found in the store and not run again, whichever study asked
for it first.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from antifragile._shown import listed_names
from antifragile.ablate.command.proof import OF_OUTSIDE, OF_REPOSITORY
from antifragile.ablate.designs.base import BASELINE
from antifragile.ablate.generation.emit import needed_files
from antifragile.ablate.sandbox.copies import MOST_FILES
from antifragile.ablate.source.opened import ReadFiles
from antifragile.ablate.study.child.run import OF_EXPERIMENT, OF_MODEL, OPENED
from antifragile.ablate.study.request import AblationRequest, PlannedRun, Role, started_from
from antifragile.ablate.study.running.combinations import Combinations
from antifragile.store.ablation import AblationRun, AblationStore
from antifragile.store.records import Environment

logger = logging.getLogger(__name__)

READ_FILES = "files"  # protocol of a row whose metrics name the files that a run read


class RunKeys:
    """The keys of a study's runs, as far as it is known what they read.

    Args:
        request: The study.
        store: Store in which runs are looked up.
        environment: Environment that all runs belong to.
        combinations: The variants.
    """

    def __init__(
        self,
        request: AblationRequest,
        store: AblationStore,
        environment: Environment,
        combinations: Combinations,
    ) -> None:
        self._request, self._store = request, store
        self._environment, self._combinations = environment, combinations
        self._keys: dict[PlannedRun, str] = {}
        self.first: dict[PlannedRun, str] = {}  # as known before anything had run
        self._read: dict[PlannedRun, set[str]] = {}  # files that a key knows
        copies, experiment = combinations.copies.copies, request.experiment
        folder = combinations.folder
        own = OF_EXPERIMENT if experiment.command is None else OF_REPOSITORY
        self._files = ReadFiles(
            {OF_MODEL: copies.original, own: experiment.folder, OF_OUTSIDE: Path(os.sep)},
            {
                OF_MODEL: needed_files(folder.project),
                own: tuple(experiment.files or ()),
                OF_OUTSIDE: (),
            },
            {f"{OF_MODEL}:{file}": sha256 for file, sha256 in folder.data.items()},
            experiment.hash_of,
        )
        self._said: set[str] = set()

    def __getitem__(self, plan: PlannedRun) -> str:
        """The key of a run that was looked up, as it is known now."""
        return self._keys[plan]

    def look_up(self, plans: Iterable[PlannedRun]) -> dict[PlannedRun, AblationRun]:
        """Find the keys of runs, and those that are stored.

        Below the key of what is known before a run, the store has either the run, or the names of
        the files that it read; their hashes as they are now make the next key. Baselines whose
        kept values others start from come first, since the keys of those hold theirs.
        """
        wanted = dict.fromkeys(plans)
        first = started_from(wanted, self._request.experiment)
        found = self._look_up(first) | self._look_up([p for p in wanted if p not in first])
        return {plan: run for plan, run in found.items() if plan in wanted}

    def _look_up(self, asked: list[PlannedRun]) -> dict[PlannedRun, AblationRun]:
        found = dict[PlannedRun, AblationRun]()
        for plan in asked:
            self._keys[plan], self._read[plan] = self._first_key(plan), set()
            self.first[plan] = self._keys[plan]
        while asked:
            rows, further = self._store.ablation_runs(self._keys[plan] for plan in asked), []
            for plan in asked:
                row = rows.get(self._keys[plan])
                if row is not None and row.protocol == READ_FILES:
                    self.extend(plan, row.metrics or {})
                    further.append(plan)
                elif row is not None:
                    found[plan] = row
                elif self._read[plan]:
                    self._say_of_changed(self._read[plan])
            asked = further
        return found

    def newly_read(self, plan: PlannedRun, scratch: Path, seconds: float) -> list[str]:
        """Names of the files that a run read and that its key does not know yet.

        Args:
            plan: The run.
            scratch: Its scratch folder.
            seconds: Its wall time.

        Raises:
            UsageError: One was changed while the study ran.
        """
        names = self._files.read_in_run(scratch / OPENED, seconds)
        new = sorted(names - self._read[plan])
        if len(new) > MOST_FILES:
            self._say_once(
                "many",
                f"Runs read {len(new):,} files; changes of {len(new) - MOST_FILES:,} are not "
                "noticed.",
            )
        return new[:MOST_FILES]

    def extend(self, plan: PlannedRun, names: Iterable[str]) -> None:
        """Make the key of a run that read these files too."""
        hashes = {name: self._files.sha256(name) for name in sorted(names)}
        self._read[plan] |= hashes.keys()
        self._keys[plan] = _sha256([self._keys[plan], hashes])

    def say_of_files(self) -> None:
        """Say which files of the experiment changed since the study of this name last ran."""
        name, experiment = self._request.name, self._request.experiment
        if name not in self._store.ablation_names():
            return
        then = (self._store.manifest(name).get("experiment") or {}).get("files") or {}
        now = experiment.files or {}
        changed = sorted(file for file in now if now[file] != then.get(file, now[file]))
        new = now.keys() - then.keys() if then else ()
        changed += sorted(f"{file} (new)" for file in new)
        top, gone = experiment.folder, then.keys() - now.keys()
        changed += sorted(f"{file} (gone)" for file in gone if not (top / file).exists())
        if changed:
            said = f"Changed since this study last ran: {listed_names(changed, 5)}."
            if new and (top / ".git").exists():
                said += " New files that no run reads can be listed in .gitignore."
            self._say_once("files", said)

    def say_of_older(self, missing: Iterable[PlannedRun]) -> None:
        """Say that runs of an earlier version are not used."""
        older = self._store.ablation_runs(_sha256(self._known(plan)) for plan in missing)
        if any(run.metrics is not None for run in older.values()):
            self._say_once(
                "older",
                "Runs that an earlier version stored do not say which files they read; they are "
                "run again.",
            )

    def _say_of_changed(self, names: Collection[str]) -> None:
        """Say that files which earlier runs read are others now."""
        listed = listed_names((name.partition(":")[2] for name in sorted(names)), 5)
        how = "was changed since" if len(names) == 1 else "were changed since, or one of them"
        self._say_once("changed", f"Earlier runs read {listed}, which {how}; they are run again.")

    def _say_once(self, about: str, words: str) -> None:
        if about not in self._said:
            self._said.add(about)
            logger.warning("%s", words)

    def _first_key(self, plan: PlannedRun) -> str:
        """Hash of what is known to decide a run's numbers before it has run."""
        starts = started_from([plan], self._request.experiment)
        return _sha256([self._known(plan), [self._keys[p] for p in starts]])

    def _known(self, plan: PlannedRun) -> dict[str, Any]:
        build = self._combinations.folder.project.build
        return {
            "source": self._combinations.sha256(plan.ablated),
            "baseline": self._combinations.sha256(BASELINE),
            "build": [build.file, build.function],
            "cut": self._combinations.folder.cut_parameters(sorted(plan.ablated)),
            "experiment": self._request.experiment.sha256,
            "protocol": plan.protocol,
            "seeds": plan.seeds(),
            "environment": self._environment.environment_id,
            "again": plan.role is Role.REPEAT,
        }


def _sha256(what: object) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
