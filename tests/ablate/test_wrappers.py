"""Models in wrappers of training code: the model inside is found and cut."""

from __future__ import annotations

from pathlib import Path

from antifragile.ablate.pipeline import make_ablations
from antifragile.ablate.plan.model import plan_ablations
from antifragile.ablate.records import AblationPlan
from antifragile.ablate.sandbox.server import Server
from tests.ablate.model_projects import part_of, traced, written_project

MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.act, self.two = nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x):
        return self.two(x + self.act(self.one(x)))


def inputs():
    return (torch.linspace(-1, 1, 32).reshape(4, 8),)


def build():
"""
PARALLEL = """
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    return DistributedDataParallel(Net())
"""


def planned(folder: Path, server: Server, build: str) -> AblationPlan:
    """The plan of the model in a wrapper."""
    project = written_project(folder, MODEL + build)
    return plan_ablations(project, traced(server, project))


def verdicts(plan: AblationPlan, names: list[str], out: Path, server: Server) -> dict[str, str]:
    """The verdict on the default cut of some components."""
    made = make_ablations(part_of(plan, names), out, server=server)
    return {found.component: str(found.verdict) for found in made.certificates}


def test_a_model_for_several_processes_is_looked_through(tmp_path: Path, tracing: Server) -> None:
    plan = planned(tmp_path, tracing, PARALLEL)
    found = {item.name: item.parameters for item in plan.components}
    assert found.items() >= {"Net.one": 72, "Net.act": 0, "Net.two": 27}.items()
    assert "Net.forward:x + self.act" in found
    chosen = ["Net.one", "Net.forward:x + self.act"]
    assert set(verdicts(plan, chosen, tmp_path / "out", tracing).values()) == {"certified"}
