"""The experiment of an ablation study: a function or command of the user, or our classifier.

Experiment          the training and measurement, with hashes of the files that decide its numbers
CommandExperiment   a command that trains, and where it leaves its metrics
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from antifragile._files import sha256_of
from antifragile._records import MAY_BE_ABSENT
from antifragile._shown import show_path
from antifragile.ablate.command.command import Command, places_in
from antifragile.ablate.command.metrics import MetricSource
from antifragile.ablate.command.repository import has_grown, hash_of, hashes_of
from antifragile.ablate.source.project import (
    check_function,
    companions_of,
    existing_file,
    package_top,
    split_entry,
)
from antifragile.ablate.study.child.experiment import EVALUATE
from antifragile.ablate.study.child.trainer import TrainerOptions
from antifragile.data.datasets import load_dataset
from antifragile.data.files import user_cache
from antifragile.data.npz import with_absolute_path
from antifragile.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class CommandExperiment:
    """A command of the user's that trains, and where it leaves its metrics.

    Args:
        command: The command.
        metrics: Where its metrics are; the first is judged unless another is named.
    """

    command: Command
    metrics: tuple[MetricSource, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on files of metrics that are no run's own, though each has a folder."""
        shared = [
            source
            for source in self.metrics
            if source.is_file and "out" not in places_in(source.path) and self.command.takes("out")
        ]
        return tuple(
            f"--metric {source.text} reads a file that is not in {{out}}, the same one for all "
            f"runs; if the command leaves it there, write {source.kind}:{{out}}/... instead."
            for source in shared
        )


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The training and measurement that is run: the user's function or command, or our classifier.

    The manifest lists it as it is.

    Args:
        file: ``FILE.py:function`` of a ``function(build_model, seed, data_order_seed) -> metrics``;
            the path holds from the current folder.
        dataset: Name of a data set of ours, instead of a file.
        options: Options of the built-in trainer, with a data set.
        command: A command, instead of a file.
        files: Hashes of the file and the local files it imports, by their path below the first
            folder that is no package; with a command those of its repository; None in older
            manifests, and with a data set.
        sha256: Hash of all of them, or of the data and options.
    """

    file: str | None = field(default=None, metadata=MAY_BE_ABSENT)
    dataset: str | None = field(default=None, metadata=MAY_BE_ABSENT)
    options: TrainerOptions | None = field(default=None, metadata=MAY_BE_ABSENT)
    command: CommandExperiment | None = field(default=None, metadata=MAY_BE_ABSENT)
    files: dict[str, str] | None = field(default=None, metadata=MAY_BE_ABSENT)
    sha256: str

    @classmethod
    def from_file(cls, text: str) -> Experiment:
        """Read ``FILE.py:function``.

        Raises:
            SpecError: No such file or function, or it is not Python.
        """
        file, function = split_entry("experiment", text, ())
        check_function(existing_file(file), function)
        digest, files, top = hashlib.sha256(function.encode()), {}, package_top(file)
        for path in companions_of([file], [top]):
            content = path.read_bytes()
            digest.update(path.name.encode() + content)
            files[Path(os.path.relpath(path, top)).as_posix()] = hashlib.sha256(content).hexdigest()
        return cls(file=f"{show_path(file)}:{function}", files=files, sha256=digest.hexdigest())

    @classmethod
    def from_dataset(cls, name: str, options: TrainerOptions) -> Experiment:
        """Use the built-in classifier.

        Raises:
            DataError: Unknown or unreadable data.
        """
        what = json.dumps([load_dataset(name).sha256, asdict(options)], sort_keys=True)
        sha256 = hashlib.sha256(what.encode()).hexdigest()
        return cls(dataset=name, options=options, sha256=sha256)

    @classmethod
    def from_command(cls, given: CommandExperiment) -> Experiment:
        """Use a command, with the files of its repository as they are now.

        Raises:
            UsageError: It names no metric, or one twice; the repository is too large.
        """
        names = [source.name for source in given.metrics]
        if not names:
            raise UsageError(
                "a command needs --metric, as in 'json:{out}/metrics.json:val_loss'; see --help."
            )
        for source in given.metrics:
            if "out" in places_in(source.path) and not given.command.takes("out"):
                raise UsageError(
                    f"--metric {source.text} reads in {{out}}, which the command is not told; "
                    "write {out} where it takes its output folder, or the path it writes to."
                )
        if twice := [name for name in names if names.count(name) > 1]:
            raise UsageError(f"--metric names {twice[0]} twice; give each metric once.")
        files = hashes_of(Path(given.command.repository))
        what = json.dumps([asdict(given), files], sort_keys=True)
        sha256 = hashlib.sha256(what.encode()).hexdigest()
        return cls(command=given, files=files, sha256=sha256)

    @classmethod
    def chosen(
        cls,
        file: str | None,
        dataset: str | None,
        options: TrainerOptions | None,
        command: CommandExperiment | None = None,
    ) -> Experiment:
        """Read ``FILE.py:function``, use a command, or the built-in classifier on a data set.

        Raises:
            UsageError: None of them or several are given.
            SpecError: The file has no such function.
            DataError: Unknown or unreadable data.
        """
        if sum(given is not None for given in (file, dataset, command)) == 1:
            if file is not None:
                return cls.from_file(file)
            if command is not None:
                return cls.from_command(command)
            assert dataset is not None
            return cls.from_dataset(dataset, options or TrainerOptions())
        raise UsageError(
            "what is to be run? give one of --command 'python train.py --seed {seed}', "
            "--experiment FILE.py:run or --dataset NAME."
        )

    def check_evaluates(self) -> None:
        """Refuse the post-hoc protocol without a function that measures a trained model.

        Raises:
            SpecError: The file has none.
        """
        if self.file is not None:
            check_function(Path(self.file.rpartition(":")[0]), EVALUATE)
        if self.command is not None:
            raise UsageError(
                "--protocol post-hoc measures a trained model, which needs --experiment with an "
                "evaluate(); a command only trains."
            )

    def check_unchanged(self) -> None:
        """Check that its files are still those that were hashed.

        Raises:
            UsageError: One is not.
        """
        for path, sha256 in self._hashes().items():
            try:
                found = self.hash_of(Path(path))
            except OSError:
                found = ""
            if found != sha256:
                is_log = found and self._is_like_a_log(Path(path), sha256)
                raise UsageError(
                    f"{path} was changed after the study began; what ended is stored for the old "
                    f"file. {self._advice_on_a_log if is_log else 'Put'} it back to go on, or run "
                    "again for the new one."
                )

    def _is_like_a_log(self, path: Path, before: str) -> bool:
        """Whether a file of a command's repository may be one that some program prints to."""
        return self.command is not None and path.suffix != ".py" and has_grown(path, before)

    @property
    def _advice_on_a_log(self) -> str:
        listed = " or list it in .gitignore" if (self.folder / ".git").exists() else ""
        return (
            f"It has only grown; if it is a log, write it outside the repository{listed}, else put"
        )

    def _hashes(self) -> dict[str, str]:
        """The hashes of its files, by absolute path."""
        files, top = self.files or {}, self.folder
        return {str((top / path).resolve()): value for path, value in files.items()}

    def hash_of(self, path: Path) -> str:
        """Return the hash of a file that decides its numbers; a command's may be large."""
        return sha256_of(path) if self.command is None else hash_of(path)

    @property
    def folder(self) -> Path:
        """The first folder above its file that is no package, or the command's repository.

        The current folder for a data set.
        """
        if self.command is not None:
            return Path(self.command.command.repository)
        return package_top(Path((self.file or "").rpartition(":")[0]).resolve())

    def to_job(self) -> dict[str, Any]:
        """The argument ``experiment`` of `child.run.RunArguments`."""
        if self.file is not None:
            file, _, function = self.file.rpartition(":")
            path = str(Path(file).resolve())
            return {"file": path, "function": function, "files": self._hashes()}
        assert self.dataset is not None
        assert self.options is not None
        return {
            "dataset": with_absolute_path(self.dataset),
            "data_dir": str(user_cache()),  # of the user, whose home a run does not see
            "options": asdict(self.options),
        }
