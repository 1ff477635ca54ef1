"""The test models as projects, traced in a child process once a session."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cache
from pathlib import Path

from antifragile.ablate.pipeline import run_traced
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationPlan, Component, Project
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project
from antifragile.ablate.trace.records import Trace

MODELS = Path(__file__).parent / "models"


@cache
def model_project(name: str) -> Project:
    """The project of a test model."""
    if name == "concat_skips":
        sources = [MODELS / name / "net.py", MODELS / name / "parts.py"]
        entry = MODELS / "concat_skips_entry.py"
    else:
        sources, entry = [MODELS / f"{name}.py"], MODELS / f"{name}.py"
    step = f"{entry}:step" if name == "training_script" else None
    return load_project(sources, f"{entry}:build", f"{entry}:inputs", step)


def traced(server: Server, project: Project) -> Trace:
    """Trace a project in a child process."""
    return run_traced(project, server=server)


@cache
def model_trace(server: Server, name: str) -> Trace:
    """The trace of a test model."""
    return traced(server, model_project(name))


@cache
def model_plan(server: Server, name: str) -> AblationPlan:
    """The plan of a test model, its inputs included."""
    trace = model_trace(server, name)
    return plan_ablations(model_project(name), trace, inputs_as_components=True)


def model_components(server: Server, name: str) -> tuple[Component, ...]:
    """The components of a test model."""
    return model_plan(server, name).components


def part_of(plan: AblationPlan, names: Collection[str]) -> AblationPlan:
    """The plan of some components alone."""
    return replace(plan, plans=tuple(p for p in plan.plans if p.component.name in names))


def written_project(folder: Path, text: str, **files: str) -> Project:
    """A project of one source file, `model.py`, and further files beside it."""
    (folder / "model.py").write_text(text, encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content, encoding="utf-8")
    path = folder / "model.py"
    return load_project([path], f"{path}:build", f"{path}:inputs")
