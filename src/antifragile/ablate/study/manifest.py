"""The manifest of an ablation study: everything needed to get any row of its report again.

It names the sources with their hashes, the experiment, versions, machine, seeds, what was declared
(design, metric, margin, level), every variant that was run or left out and why, and every run by
its key. Exported (see `manifest_files`), it holds the metrics too, so that a repeated run can be
compared with it.

`AblationManifest` is the one form in memory; `manifest_from` makes it from JSON data and `to_json`
makes JSON data of it. Keys that older manifests lack are fields that may be absent.
"""

from __future__ import annotations

import math
import os
import platform
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from antifragile import __version__
from antifragile._records import MAY_BE_ABSENT, from_json, to_json
from antifragile._shown import show_path
from antifragile.ablate.designs.registry import DesignName
from antifragile.ablate.records import CertificateVerdict, Project
from antifragile.ablate.study.experiment import Experiment
from antifragile.ablate.study.folder import Arm
from antifragile.ablate.study.request import PlannedRun, Role, TrainingProtocol
from antifragile.analysis.inference.paired import Judgement
from antifragile.errors import DataError, UsageError
from antifragile.store.ablation import AblationStore
from antifragile.store.records import Environment

_EXPORTED = ("metrics", "failure", "seconds")


@dataclass(frozen=True, kw_only=True)
class ManifestProject:
    """The model: its files, and the functions ``FILE.py:function`` that build and feed it."""

    source: tuple[str, ...]
    build: str
    inputs: str | None
    step: str | None

    @classmethod
    def of(cls, project: Project) -> ManifestProject:
        """Describe a project by paths that hold from the current folder."""
        root = Path(project.root)
        functions = {
            role: f"{show_path(root / entry.file)}:{entry.function}"
            for role, entry in project.entries.items()
        }
        return cls(
            source=tuple(show_path(root / file) for file in project.sources),
            build=functions["build"],
            inputs=functions.get("inputs"),
            step=functions.get("step"),
        )


@dataclass(frozen=True, kw_only=True)
class ManifestCombination:
    """The verdict on several ablations at once.

    Args:
        ablated: Their arms.
        folder: Where the combined files lie, relative to the variants; empty where edits clash.
        verdict: The certificate's verdict.
        reason: The verdict's reason, as a clause.
    """

    ablated: tuple[str, ...]
    folder: str
    verdict: CertificateVerdict
    reason: str


@dataclass(frozen=True, kw_only=True)
class ManifestRun:
    """One run; how it ended is known once the manifest has been exported.

    Args:
        key: SHA-256 of everything that decides its numbers.
        ablated: Arms that are cut, sorted.
        seed: The seed it is paired by.
        protocol: Retrain or post-hoc.
        role: The run's purpose.
        metrics: Numbers by name; None when it failed or is not exported.
        failure: Why it failed; None when it did not, or is not exported.
        seconds: Wall time; None when not exported.
    """

    key: str
    ablated: tuple[str, ...]
    seed: int
    protocol: TrainingProtocol
    role: Role
    metrics: dict[str, float] | None = None
    failure: str | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, plan: PlannedRun, key: str) -> ManifestRun:
        """Describe a planned run."""
        return cls(
            key=key,
            ablated=tuple(sorted(plan.ablated)),
            seed=plan.seed,
            protocol=plan.protocol,
            role=plan.role,
        )

    @property
    def label(self) -> str:
        """The run in words, for people."""
        what = " + ".join(self.ablated) or "baseline"
        return what if self.role is Role.RUN else f"{what}, {self.role}"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The computer of a study; what decides the bits of its numbers is the environment."""

    platform: str
    processors: int | None

    @classmethod
    def here(cls) -> Machine:
        """Describe this computer."""
        return cls(platform=platform.platform(), processors=os.cpu_count())


@dataclass(frozen=True, kw_only=True)
class AblationManifest:
    """A study as it is stored and exported.

    Args:
        name: The study's name in the store.
        file: Name of the exported file.
        command: The command that ran it.
        versions: Versions by package.
        environment: Everything that decides the bits of the numbers.
        machine: The computer.
        framework: ``torch`` or ``keras``.
        folder: The folder of variants.
        project: The model.
        experiment: The experiment.
        metric: Name of the judged metric.
        higher_is_better: Whether a higher metric is better.
        protocols: Protocols in the order asked for.
        design: The way in which arms are combined.
        seeds: Seeds of the pairs.
        looks: Cumulative numbers of seeds at which an adaptive study looks.
        judgement: Declared level, margin and power.
        baseline_sha256: Hash of the baseline's files.
        arms: The ablations.
        n_certified: Ablations of the folder that could have been chosen.
        left_out: (folder or component and kind, reason) of variants without a certificate.
        combinations: Verdicts on several ablations at once.
        runs: All runs.
    """

    name: str
    file: str | None = field(default=None, metadata=MAY_BE_ABSENT)
    command: str
    versions: dict[str, str]
    environment: Environment
    machine: Machine
    framework: str | None = field(default=None, metadata=MAY_BE_ABSENT)
    folder: str
    project: ManifestProject
    experiment: Experiment
    metric: str
    higher_is_better: bool
    protocols: tuple[TrainingProtocol, ...]
    design: DesignName
    seeds: tuple[int, ...]
    looks: tuple[int, ...]
    judgement: Judgement
    baseline_sha256: str
    arms: tuple[Arm, ...]
    n_certified: int | None = field(default=None, metadata=MAY_BE_ABSENT)
    left_out: tuple[tuple[str, str], ...]
    combinations: tuple[ManifestCombination, ...] | None = field(
        default=None, metadata=MAY_BE_ABSENT
    )
    runs: tuple[ManifestRun, ...]

    @property
    def sign(self) -> float:
        """Factor that turns the metric so that higher is better."""
        return 1.0 if self.higher_is_better else -1.0

    def to_json(self) -> dict[str, Any]:
        """The manifest as plain data for JSON."""
        plain: dict[str, Any] = to_json(self)
        for run in plain["runs"]:
            if run["seconds"] is None:  # not exported
                for key in _EXPORTED:
                    del run[key]
        return plain


def manifest_from(plain: object, where: str) -> AblationManifest:
    """Read a manifest from JSON data.

    Args:
        plain: The data.
        where: Its place, for the message.

    Raises:
        UsageError: It is not a manifest.
    """
    try:
        manifest: AblationManifest = from_json(AblationManifest, plain)
        _check(manifest)
    except (ValueError, DataError) as error:
        reason = str(error).rstrip(".")
        raise UsageError(
            f"{where} is not the manifest of an ablation study: {reason}; give one as "
            "'ablate run' wrote it."
        ) from error
    return manifest


def _check(manifest: AblationManifest) -> None:
    """Check what the types of the fields do not say.

    Raises:
        ValueError: A field's value cannot be; the text names the field.
    """
    judged, arms = manifest.judgement, [arm.name for arm in manifest.arms]
    numbers = {"judgement.power": judged.power, "judgement.margin": judged.margin or 1.0}
    numbers |= {f"runs[{n}].seconds": run.seconds or 0.0 for n, run in enumerate(manifest.runs)}
    for field_, number in numbers.items():
        if not 0 <= number < math.inf:
            raise ValueError(f"{field_} is {number}; expected a finite number of at least 0")
    if not 0 < judged.power < 1:
        raise ValueError(f"judgement.power is {judged.power}; expected a number between 0 and 1")
    for listed in ("seeds", "protocols", "looks"):
        values = getattr(manifest, listed)
        if len(set(values)) < len(values) or not (values or listed == "looks"):
            raise ValueError(f"{listed} is empty or lists a value twice")
    if len(set(arms)) < len(arms):
        raise ValueError("arms lists a name twice")
    for n, run in enumerate(manifest.runs):
        if unknown := set(run.ablated) - set(arms):
            raise ValueError(f"runs[{n}].ablated names {min(unknown)!r:.60}, which is none of arms")


def with_metrics(manifest: AblationManifest, store: AblationStore) -> AblationManifest:
    """Add how each run ended; runs that the store does not have are left out."""
    found = store.ablation_runs(run.key for run in manifest.runs)
    runs = tuple(
        replace(run, metrics=end.metrics, failure=end.failure, seconds=round(end.seconds, 3))
        for run in manifest.runs
        if (end := found.get(run.key)) is not None
    )
    return replace(manifest, runs=runs)


def package_versions(environment: Environment) -> dict[str, str]:
    """Versions of everything that computes; a further framework stands in the kernel's name."""
    framework = environment.kernel.partition(", ")[2]
    return {
        "antifragile": __version__,
        "python": platform.python_version(),
        "torch": environment.torch_version,
        "numpy": np.__version__,
        **({"framework": framework} if framework else {}),
    }
