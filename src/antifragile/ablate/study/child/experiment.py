"""The experiment's functions, from the sources that were hashed."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from antifragile.ablate.generation.emit import files_of
from antifragile.ablate.records import Project
from antifragile.ablate.sandbox.loading import Refusal, import_by_path, stage
from antifragile.ablate.source.imports import read_sources_alone

EVALUATE = "evaluate"  # the function of the post-hoc protocol


def load_experiment(
    experiment: dict[str, Any], project: Project, folder: str, name: str
) -> Callable[..., Any]:
    """The function of that name, which trains or evaluates.

    A file that belongs to the project is taken from the variant's copy, so that marked parts of it
    can be ablated; its neighbours are importable, after the variant's own files.
    """
    if "dataset" in experiment:
        from antifragile.ablate.study.child.trainer import trainer

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


def device_of(function: Callable[..., Any], device: str) -> dict[str, str]:
    """The keyword ``device`` for an experiment that takes it; none for others.

    Raises:
        Refusal: It does not take one, and the device is not the processor.
    """
    parameters = inspect.signature(function).parameters.values()
    if any(p.name == "device" or p.kind is p.VAR_KEYWORD for p in parameters):
        return {"device": device}
    if device != "cpu":
        name = getattr(function, "__name__", "it")
        raise Refusal(f"{name}() takes no device; write {name}(..., device)")
    return {}
