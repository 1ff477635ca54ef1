"""Wrapped models are looked through, or refused in a sentence; a model is left as it was."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from antifragile.errors import UsageError
from antifragile.model.units.find import find_units
from antifragile.model.units.records import UnitTable
from tests.required_here import not_here

INPUTS = torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(64, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


def names(table: UnitTable) -> list[tuple[str, str, int]]:
    return [(group.layer, str(group.kind), len(group.units)) for group in table.groups]


EXPECTED = [("0", "channel", 4), ("5", "neuron", 8), ("7", "output", 3)]


def test_a_model_is_left_as_it_was() -> None:
    model = plain()
    model.train()
    model[1].eval()  # type: ignore[index]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert names(find_units(model, INPUTS)) == EXPECTED
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_compiled_model_has_the_units_of_the_model_inside() -> None:
    assert names(find_units(torch.compile(plain(), backend="eager"), INPUTS)) == EXPECTED


def test_compiled_parts_are_run_eagerly() -> None:
    model = plain()
    model[5] = torch.compile(model[5], backend="eager")  # type: ignore[operator,index]
    found = names(find_units(model, INPUTS))
    assert [(kind, n) for _, kind, n in found] == [(kind, n) for _, kind, n in EXPECTED]


def test_a_distributed_model_has_the_units_of_the_model_inside(tmp_path: object) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/x", rank=0, world_size=1)
    try:
        assert names(find_units(DistributedDataParallel(plain()), INPUTS)) == EXPECTED
    finally:
        dist.destroy_process_group()


def test_a_sharded_model_is_refused() -> None:
    class FSDPModel(nn.Module):
        pass

    FSDPModel.__name__ = "FullyShardedDataParallel"
    with pytest.raises(UsageError, match=r"sharded over processes \(FSDP\)"):
        find_units(FSDPModel(), INPUTS)


def test_torchscript_is_refused() -> None:
    class Scripted(torch.jit.ScriptModule):
        pass

    with pytest.raises(UsageError, match=r"the model is TorchScript; give the torch\.nn\.Module"):
        find_units(Scripted(), INPUTS)


def test_a_low_rank_adapter_has_its_own_neurons_and_the_frozen_part_is_named() -> None:
    if find_spec("peft") is None:
        not_here("peft is not installed")
    import peft

    config = peft.LoraConfig(r=2, target_modules=["5"], lora_alpha=4)
    table = find_units(peft.get_peft_model(plain(), config), INPUTS)
    (adapter,) = [group for group in table.groups if "lora_A" in group.layer]
    assert len(adapter.units) == 2
    reasons = {row.layer: row.reason for row in table.refused}
    (frozen,) = [reason for layer, reason in reasons.items() if layer.endswith("5.base_layer")]
    assert re.search(r"is frozen \(requires_grad is False\)", frozen)


def test_another_parametrization_is_refused_by_name() -> None:
    model = nn.Sequential(
        nn.Linear(4, 5),
        nn.ReLU(),
        nn.utils.parametrizations.orthogonal(nn.Linear(5, 6)),
        nn.ReLU(),
        nn.Linear(6, 2),
    )
    table = find_units(model, torch.randn(4, 4))
    reasons = {row.layer: row.reason for row in table.refused}
    assert "2 reads it, and cannot be cut" in reasons["0"]
    assert "cannot be zeroed: its weight is computed from" in reasons["2"]


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(UsageError, match="the model has no parameters, and so no units"):
        find_units(nn.ReLU(), torch.ones(2))


class Overlapping(nn.Module):
    """A model whose scale of the inputs shares memory with two columns of a weight."""

    def __init__(self) -> None:
        super().__init__()
        memory = torch.randn(8, generator=torch.Generator().manual_seed(0))
        self.first = nn.Parameter(torch.ones(3, 4))
        self.second = nn.Parameter(memory[:6].view(2, 3))
        self.scale = nn.Parameter(memory[4:])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (B, 4) to (B, 2)."""
        hidden = torch.relu(nn.functional.linear(inputs * self.scale, self.first))
        return nn.functional.linear(hidden, self.second)


def test_a_unit_whose_ablation_would_change_another_parameter_is_refused() -> None:
    model = Overlapping()
    before = [value.detach().clone() for value in model.parameters()]
    table = find_units(model, torch.randn(4, 4))
    hidden = [unit.number for group in table.groups[:-1] for unit in group.units]
    assert hidden == [0]
    assert "first" in {row.layer for row in table.refused}
    assert all(map(torch.equal, before, model.parameters()))


class Routed(nn.Module):
    """A model whose way depends on its values."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.one, self.two = nn.Linear(4, 1), nn.Linear(4, 6), nn.Linear(4, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map inputs (B, 4) to (B, 2)."""
        layer = self.one if self.gate(inputs).sum() > 0 else self.two
        logits: torch.Tensor = self.head(torch.relu(layer(inputs)))
        return logits


def test_a_layer_that_decides_the_way_is_named() -> None:
    table = find_units(Routed(), torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))
    reasons = {row.layer: row.reason for row in table.refused}
    assert "takes another way through its layers" in reasons["gate"]
