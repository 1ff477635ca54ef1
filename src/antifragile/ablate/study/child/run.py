"""One run: model and experiment are loaded, paired by the seed, trained and measured.

Initial values and the streams after them are the baseline's (see `builder`); the experiment is
handed ``data_order_seed``, the same for a seed's runs.

With torch, dropout masks come from the global stream: they agree until the first layer that is
missing. A Keras layer draws from a stream of its own, whose state is copied like a weight. An
experiment that shuffles by the global stream loses its pairing there; it should use the order seed.

All of it happens in copies, in which model and experiment may write what they like; what they leave
there goes with the copy. The baseline has a copy of its own.

A trained baseline can be kept for the post-hoc protocol: its tensors are loaded into the variant
by name and shape, except those that the ablation cut, and the experiment's ``evaluate`` is called.
Framework-specific steps are behind `frameworks.adapter`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from antifragile._records import from_json
from antifragile.ablate.frameworks.registry import framework_named
from antifragile.ablate.generation.digests import AGAIN, changed_in_copy
from antifragile.ablate.records import Project
from antifragile.ablate.sandbox.copies import fill
from antifragile.ablate.sandbox.loading import Refusal, stage
from antifragile.ablate.source.opened import note_opened
from antifragile.ablate.source.project import enter_project, package_top
from antifragile.ablate.study.child.builder import PairedBuilder, State, save_state
from antifragile.ablate.study.child.experiment import EVALUATE, device_of, load_experiment
from antifragile.ablate.study.child.metrics import checked_metrics

KEPT, OPENED = "kept.safetensors", "opened"  # in the scratch folder
OF_MODEL, OF_EXPERIMENT = "model", "experiment"  # folders of files that a run opens


@dataclass(frozen=True, kw_only=True)
class RunArguments:
    """The arguments of a run as JSON data.

    Args:
        project: `asdict` of the project.
        framework: Name of the adapter.
        folder: Copy of the variant, or of the baseline.
        baseline: Folders of which a copy of the baseline is made, later ones over earlier ones;
            none where the run is the baseline's.
        experiment: ``file``, ``function`` and the hashes ``files``, or ``dataset`` and ``options``
            of the built-in one.
        seeds: ``seed`` (handed on), ``init``, ``stream`` and ``order``.
        scratch: A folder for the baseline's copy and values on their way between processes.
        trained: File of values to load instead of training (post-hoc).
        keeps: Whether to leave the trained values in the scratch folder, as `KEPT`.
        cut: Parameters that trained values are not loaded into.
        certified: The hashes of the files in `folder`, as they were certified.
        certified_baseline: Those of the baseline's.
        own_values: Parameters that start from the variant's own values, not the baseline's.
        device: The device, for experiments that take one.
    """

    project: dict[str, Any]
    framework: str
    folder: str
    baseline: Sequence[str]
    experiment: dict[str, Any]
    seeds: dict[str, int]
    scratch: str
    trained: str | None = None
    keeps: bool = False
    cut: Sequence[str] = ()
    certified: Mapping[str, str] = field(default_factory=dict)
    certified_baseline: Mapping[str, str] = field(default_factory=dict)
    own_values: Sequence[str] = ()
    device: str = "cpu"


def run_job(run: dict[str, Any]) -> dict[str, float]:
    """Train and measure a variant, or measure it with trained values.

    Args:
        run: `asdict` of `RunArguments`.

    Returns:
        The metrics.

    Raises:
        Refusal: Something is wrong with the model or the experiment.
    """
    given = RunArguments(**run)
    _check_copy(Path(given.folder), given.certified)
    project: Project = from_json(Project, given.project)
    adapter = framework_named(given.framework).open_models(given.folder)
    if given.trained is not None and given.own_values:
        raise Refusal("it ablates initial values, which a trained model no longer has: retrain it")
    start = _state_in_child(project, given) if given.baseline else None
    if start is not None:
        start = {path: value for path, value in start.items() if path not in given.own_values}
    note_opened(Path(given.scratch, OPENED), _folders_of(project, given))
    enter_project(project, Path(given.folder))
    builder = PairedBuilder(project, adapter, given.seeds["init"], start)
    adapter.seed_run(given.seeds["stream"])
    function = given.experiment.get("function", "train") if given.trained is None else EVALUATE
    measure = load_experiment(given.experiment, project, given.folder, function)
    subject: Any = builder
    if given.trained is not None:
        subject, trained = builder(), load_file(given.trained)
        adapter.set_tensors(subject, {k: v for k, v in trained.items() if k not in given.cut})
        adapter.seed_run(given.seeds["stream"])
    with stage(f"{function}() of the experiment"):
        seeds = {"seed": given.seeds["seed"], "data_order_seed": given.seeds["order"]}
        found = measure(subject, **seeds, **device_of(measure, given.device))
        metrics = checked_metrics(found)
    if given.keeps:
        save_state(builder.last_state(), Path(given.scratch, KEPT))
    return metrics


def _folders_of(project: Project, given: RunArguments) -> dict[Path, str]:
    """The folders whose files count as read by a run, and those inside them that do not."""
    found = {Path(place): "" for place in (sys.prefix, sys.base_prefix, given.scratch)}
    copies = (Path(project.root), Path(given.folder), Path(given.scratch, "baseline"))
    found |= dict.fromkeys(copies, OF_MODEL)
    if file := given.experiment.get("file"):
        found[package_top(Path(file))] = OF_EXPERIMENT
    return found


def _check_copy(folder: Path, certified: Mapping[str, str]) -> None:
    """Check the files that are about to run, not those that they were copied from."""
    if change := changed_in_copy(folder, certified):
        raise Refusal(f"{change}; {AGAIN}")


def describe_framework(framework: str) -> str:
    """Versions of all that computes beside torch, in words; empty for torch."""
    return framework_named(framework).open_models(".").versions()


def _state_in_child(project: Project, given: RunArguments) -> State:
    """The baseline's initial values, built in a fork so that its modules do not stay here."""
    scratch = Path(given.scratch)
    folder, values, reason = (scratch / name for name in ("baseline", "initial", "reason"))
    pid = os.fork()
    if pid == 0:
        try:
            fill(folder, given.baseline)
            _check_copy(folder, given.certified_baseline)
            note_opened(Path(given.scratch, OPENED), _folders_of(project, given))
            own = given.folder  # the import path must not lead to the variant
            sys.path[:] = [path for path in sys.path if not Path(path).is_relative_to(own)]
            os.chdir(folder)
            adapter = framework_named(given.framework).open_models(str(folder))
            enter_project(project, folder)
            builder = PairedBuilder(project, adapter, given.seeds["init"], None)
            builder()
            save_state(builder.last_state(), values)
            os._exit(0)
        except BaseException as error:
            reason.write_text(str(error))
        finally:
            os._exit(1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        why = reason.read_text() if reason.exists() else "its process ended"
        raise Refusal(f"the baseline could not be built: {why}")
    return load_file(values)
