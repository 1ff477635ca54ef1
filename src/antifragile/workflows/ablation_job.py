"""What runs in the child process of one run: a user's model and experiment under paired seeds.

    initial values    the baseline is built under the seed in a child of its own; the variant is
                      built under the same seed, then every tensor that the baseline has under the
                      same name and shape is copied over. So what survives starts the same whatever
                      the variant draws, and the author's own initialisation stays in force.
    stream after it   building leaves the global streams (torch, NumPy, random) where they were, so
                      a variant with fewer parameters does not shift what is drawn later.
    order             the experiment is handed ``data_order_seed``, the same for a seed's runs.

Dropout masks come from the global stream: they agree until the first layer that is missing. An
experiment that shuffles by the global stream loses its pairing there; it should use the order seed.

A trained baseline can be kept for the post-hoc protocol: its tensors are loaded into the variant
by name and shape, except those that the ablation cut, and the experiment's ``evaluate`` is called.
"""

from __future__ import annotations

import importlib
import math
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from antifragile.codegen.jobs import project_from
from antifragile.codegen.loading import Refusal, stage
from antifragile.codegen.project import enter_project, entry_function
from antifragile.codegen.randomness import seed_everything
from antifragile.codegen.records import Project

State = dict[str, torch.Tensor]
Builder = Callable[..., torch.nn.Module]
EVALUATE = "evaluate"


def run_job(
    *,
    project: dict[str, Any],
    folder: str,
    baseline: str,
    experiment: dict[str, Any],
    seeds: dict[str, int],
    scratch: str,
    trained: str | None = None,
    keep: str | None = None,
    cut: list[str] | None = None,
) -> dict[str, float]:
    """Train and measure a variant, or measure it with trained values.

    Args:
        project: `asdict` of the project.
        folder: The variant, or the baseline.
        baseline: The baseline.
        experiment: ``file`` and ``function``, or ``dataset`` and ``options`` of the built-in one.
        seeds: ``seed`` (handed on), ``init``, ``stream`` and ``order``.
        scratch: A file name for initial values on their way between two processes.
        trained: Values to load instead of training (post-hoc).
        keep: Where to leave the trained values.
        cut: Parameters that trained values are not loaded into.

    Returns:
        The metrics.

    Raises:
        Refusal: Something is wrong with the model or the experiment.
    """
    found = project_from(project)
    is_baseline = Path(folder) == Path(baseline)
    start = None if is_baseline else _state_in_child(found, Path(baseline), seeds, Path(scratch))
    enter_project(found, Path(folder))
    builder = PairedBuilder(found, seeds["init"], start)
    seed_everything(seeds["stream"])
    arguments = {"seed": seeds["seed"], "data_order_seed": seeds["order"]}
    if trained is not None:
        evaluate = load_experiment(experiment, found, folder, EVALUATE)
        model = builder()
        load_matching(model, load_file(trained), frozenset(cut or ()))
        seed_everything(seeds["stream"])
        with stage(f"{EVALUATE}() of the experiment"):
            return checked_metrics(evaluate(model, **arguments))
    run = load_experiment(experiment, found, folder, None)
    with stage(f"{run.__name__}() of the experiment"):
        metrics = checked_metrics(run(builder, **arguments))
    if keep is not None:
        save_state(builder.last_model(), Path(keep))
    return metrics


class PairedBuilder:
    """The ``build_model`` that an experiment is handed.

    Args:
        project: Whose build function it calls.
        seed: Of the initial values.
        start: The baseline's initial values under that seed; None for the baseline itself.
    """

    def __init__(self, project: Project, seed: int, start: State | None) -> None:
        self._project, self._seed, self._start = project, seed, start
        self._built: torch.nn.Module | None = None

    def __call__(self) -> torch.nn.Module:
        """Build the model; what survives starts from the baseline's values."""
        entry = self._project.build
        with stage(f"{entry.function}() of {entry.file}"), streams_untouched():
            build = entry_function(self._project, entry)
            seed_everything(self._seed)
            model = build()
        if not isinstance(model, torch.nn.Module):
            raise Refusal(f"{entry.function}() must return a torch module; got {type(model)}")
        if self._start is not None:
            load_matching(model, self._start, frozenset())
        self._built = model
        return model

    def last_model(self) -> torch.nn.Module:
        """The model that was built last."""
        if self._built is None:
            raise Refusal("the experiment never called build_model(), so there is no model to keep")
        return self._built


@contextmanager
def streams_untouched() -> Iterator[None]:
    """Put the three global streams back to where they were."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])


def load_matching(model: torch.nn.Module, state: State, cut: frozenset[str]) -> list[str]:
    """Copy every tensor that the model has under the same name and shape; return their names."""
    own, copied = model.state_dict(), []
    with torch.no_grad():
        for name, value in state.items():
            if name in own and name not in cut and own[name].shape == value.shape:
                own[name].copy_(value)
                copied.append(name)
    return copied


def save_state(model: torch.nn.Module, path: Path) -> None:
    """Write a model's tensors, whole or not at all; tied ones once under each name."""
    tensors = {k: v for k, v in model.state_dict().items() if isinstance(v, torch.Tensor)}
    state = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file(state, temporary)
    os.replace(temporary, path)


def load_experiment(
    experiment: dict[str, Any], project: Project, folder: str, name: str | None
) -> Callable[..., Any]:
    """The function that trains, or the one called ``name`` beside it.

    A file that belongs to the project is taken from the variant's folder, so that what is marked
    in it can be ablated; its neighbours are importable, after the variant's own files.
    """
    if "dataset" in experiment:
        from antifragile.workflows import ablation_trainer

        return ablation_trainer.trainer(experiment, project, evaluates=name is not None)
    file = Path(experiment["file"])
    root = Path(project.root)
    if file.is_relative_to(root) and (inside := Path(folder) / file.relative_to(root)).is_file():
        file = inside
    sys.path.append(str(file.parent))
    with stage(f"importing {file.name}"):
        spec = importlib.util.spec_from_file_location(f"_experiment_{file.stem}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    wanted = name or experiment["function"]
    function = getattr(module, wanted, None)
    if not callable(function):
        why = "; the post-hoc protocol needs it" if name == EVALUATE else ""
        raise Refusal(
            f"{file.name} has no function {wanted}(model, seed, data_order_seed){why}"
            if name == EVALUATE
            else f"{file.name} has no function {wanted}(build_model, seed, data_order_seed)"
        )
    return function  # type: ignore[no-any-return]  # getattr; known to be callable


def checked_metrics(value: Any) -> dict[str, float]:
    """Numbers by name, or a sentence about what came instead."""
    if not isinstance(value, dict) or not value:
        raise Refusal(
            f"the experiment must return numbers by name; got {type(value).__name__} {value!r:.60}"
        )
    metrics = {}
    for name, number in value.items():
        try:
            metrics[str(name)] = float(number)
        except (TypeError, ValueError):
            raise Refusal(f"metric {name!r} must be a number; got {number!r:.60}") from None
        if math.isnan(metrics[str(name)]):
            raise Refusal(f"metric {name!r} is not a number (NaN); the training diverged")
    return metrics


def _state_in_child(project: Project, folder: Path, seeds: dict[str, int], scratch: Path) -> State:
    """The baseline's initial values, built in a fork so that its modules do not stay here."""
    reason = scratch.with_suffix(".reason")
    pid = os.fork()
    if pid == 0:
        try:
            sys.path[:] = [path for path in sys.path if not _is_of_variant(path, folder)]
            os.chdir(folder)
            enter_project(project, folder)
            save_state(PairedBuilder(project, seeds["init"], None)(), scratch)
            os._exit(0)
        except BaseException as error:
            reason.write_text(str(error))
        finally:
            os._exit(1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        why = reason.read_text() if reason.exists() else "its process ended"
        raise Refusal(f"the baseline could not be built: {why}")
    state = load_file(scratch)
    scratch.unlink(missing_ok=True)
    return state


def _is_of_variant(path: str, baseline: Path) -> bool:
    """Whether an import path lies beside the baseline, in a variant's folder."""
    return Path(path).is_relative_to(baseline.parent)
