"""One run in its child process: a user's model and experiment under paired seeds.

    initial values    the baseline is built under the seed in a child of its own; the variant is
                      built under the same seed, then every tensor that the baseline has under the
                      same name and shape is copied over. So what survives starts the same whatever
                      the variant draws, and the author's own initialisation stays in force. Where
                      the initialisation is what is ablated, its parameters keep the variant's own.
    stream after it   building leaves the global streams where a variant with fewer parameters
                      leaves them too, so that it does not shift what is drawn later.
    order             the experiment is handed ``data_order_seed``, the same for a seed's runs.

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

import math
import numbers
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from antifragile._files import write_atomically
from antifragile._records import from_json
from antifragile.ablate.frameworks.adapter import Adapter
from antifragile.ablate.frameworks.arrays import Array
from antifragile.ablate.frameworks.registry import framework_named
from antifragile.ablate.generate.digests import AGAIN, changed_in_copy
from antifragile.ablate.generate.emit import files_of
from antifragile.ablate.records import Project
from antifragile.ablate.sandbox.copies import fill
from antifragile.ablate.sandbox.loading import Refusal, import_by_path, stage
from antifragile.ablate.source.imports import read_sources_alone
from antifragile.ablate.source.opened import building, note_opened
from antifragile.ablate.source.project import (
    enter_project,
    entry_function,
    module_name,
    package_top,
)
from antifragile.ablate.trace.calls import read_call

State = dict[str, Array]
EVALUATE, KEPT, OPENED = "evaluate", "kept.safetensors", "opened"
OF_MODEL, OF_EXPERIMENT = "model", "experiment"  # folders of files that a run opens
_LONGEST_NAME = 200  # characters of a metric
_NUMERIC = re.compile("int|float")  # in the name of an array's type


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
        found = measure(subject, seed=given.seeds["seed"], data_order_seed=given.seeds["order"])
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


class PairedBuilder:
    """The ``build_model`` that an experiment is handed.

    Args:
        project: The project whose build function is called.
        adapter: Adapter of the model's framework.
        seed: Seed of the initial values.
        start: The baseline's initial values under that seed; None for the baseline itself.
    """

    def __init__(self, project: Project, adapter: Adapter, seed: int, start: State | None) -> None:
        self._project, self._adapter = project, adapter
        self._seed, self._start = seed, start
        self._builds_late = adapter.builds_late  # of all models; a lazy layer shows itself later
        self._own = {module_name(project, file) for file in files_of(project)}
        self._built: Any = None

    def __call__(self) -> Any:
        """Build the model; what survives starts from the baseline's values."""
        entry, adapter = self._project.build, self._adapter
        words = f"{entry.function}() of {entry.file}"
        with stage(words), building(), adapter.streams_untouched():
            build = entry_function(self._project, entry)
            run = self._first_call() if self._builds_late else None
            adapter.seed_run(self._seed)
            model = build()
            adapter.check(model, words)
            adapter.prepare(model, lambda: (run or self._first_call())(model))
        if self._start is not None:
            adapter.set_tensors(model, self._start)
        self._built = model
        return model

    def _first_call(self) -> Callable[[Any], Any]:
        """The call at which a model's layers create their weights: on the inputs, or a step."""
        inputs, step, adapter = self._project.inputs, self._project.step, self._adapter
        if inputs is None:
            assert step is not None
            return entry_function(self._project, step)
        found = entry_function(self._project, inputs)()
        source = f"{inputs.function}() of {inputs.file}"
        call = read_call(found, source, dict_is_one_input=adapter.dict_is_one_input)
        return partial(adapter.forward, call=call, training=False, with_gradients=False)

    def last_state(self) -> State:
        """All tensors of the model that was built last."""
        if self._built is None:
            raise Refusal("the experiment never called build_model(), so there is no model to keep")
        tensors = self._adapter.tensors(self._built)
        return {path: value for path, value in tensors.items() if self._is_of_model(path)}

    def _is_of_model(self, path: str) -> bool:
        """Not a tensor at the top of another file, such as an experiment's data."""
        module = path.partition(":")[0]
        return module == path or module not in sys.modules or module in self._own


def describe_framework(framework: str) -> str:
    """Versions of all that computes beside torch, in words; empty for torch."""
    return framework_named(framework).open_models(".").versions()


def save_state(state: State, path: Path) -> None:
    """Write a model's tensors, whole or not at all; tied ones once under each name."""
    content = save({name: np.require(value, requirements="C") for name, value in state.items()})
    write_atomically(path, content, durable=False)


def load_experiment(
    experiment: dict[str, Any], project: Project, folder: str, name: str
) -> Callable[..., Any]:
    """The function of that name, which trains or evaluates.

    A file that belongs to the project is taken from the variant's copy, so that marked parts of it
    can be ablated; its neighbours are importable, after the variant's own files.
    """
    if "dataset" in experiment:
        from antifragile.ablate.study.trainer import trainer

        return trainer(experiment, project, evaluates=name == EVALUATE)
    file, sha256 = Path(experiment["file"]), dict(experiment["files"])
    for own in files_of(project):
        sha256.pop(str(Path(project.root, own)), None)  # certified, and perhaps ablated
        if file == Path(project.root, own):
            file = Path(folder, own)
    for known in [path for path in sha256 if Path(path).is_relative_to(project.root)]:
        in_copy = Path(folder).resolve() / Path(known).relative_to(project.root)
        sha256[str(in_copy)] = sha256[known]
    read_sources_alone(file.parent, sha256)
    sys.path.append(str(file.parent))
    with stage(f"importing {file.name}"):
        module = import_by_path(f"_experiment_{file.stem}", file, sha256)
    function = getattr(module, name, None)
    if not callable(function):
        takes = "model" if name == EVALUATE else "build_model"
        why = "; the post-hoc protocol needs it" if name == EVALUATE else ""
        raise Refusal(f"{file.name} has no function {name}({takes}, seed, data_order_seed){why}")
    return function  # type: ignore[no-any-return]  # getattr; known to be callable


def checked_metrics(value: Any) -> dict[str, float]:
    """Numbers by name, or a sentence about what came instead."""
    if not isinstance(value, dict) or not value:
        raise Refusal(
            f"the experiment must return numbers by name; got {type(value).__name__} {value!r:.60}"
        )
    metrics = {}
    for name, number in value.items():
        if not isinstance(name, str):
            raise Refusal(f"the name of a metric must be a text; got {name!r:.60}")
        if len(name) > _LONGEST_NAME:
            raise Refusal(
                f"the name of a metric has {len(name)} characters; use at most {_LONGEST_NAME}"
            )
        metrics[str(name)] = _number(name, number)
    return metrics


def _number(name: str, value: Any) -> float:
    """A number of Python, NumPy or a framework, as an array of one element too; no bool, no text.

    Raises:
        Refusal: It is something else, or NaN.
    """
    kind = getattr(value, "dtype", None)
    is_number = isinstance(value, numbers.Number) if kind is None else _NUMERIC.search(str(kind))
    try:
        if isinstance(value, bool) or not is_number:
            raise TypeError
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        what = f"{type(value).__name__} {value!r:.60}"
        raise Refusal(f"metric {name!r} must be a number; got {what}") from None
    if math.isnan(number):
        raise Refusal(f"metric {name!r} is not a number (NaN); the training diverged")
    return number


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
