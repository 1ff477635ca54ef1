"""Residual channels are hit by mode channel, inner neurons by mode hidden."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from antifragile import FrustrationEngine

INPUTS = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))


class Residual(nn.Module):
    """A stem, two residual blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(5, 6), nn.Linear(6, 2)
        self.first = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))
        self.second = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (B, 5) to logits (B, 2)."""
        stream = torch.relu(self.stem(inputs))
        for first, second in zip(self.first, self.second, strict=True):
            stream = torch.relu(stream + second(torch.relu(first(stream))))
        logits: Tensor = self.head(stream)
        return logits


@pytest.mark.parametrize(
    ("mode", "layers"), [("channel", {"stem"}), ("hidden", {"first.0", "first.1"})]
)
def test_each_mode_hits_its_kind_of_unit(mode: str, layers: set[str]) -> None:
    model = Residual()
    engine = FrustrationEngine(
        model, lambda m: None, lambda m: m(INPUTS).sum().item(), mode=mode, seed=1
    )
    hit = {name.partition("[")[0] for record in engine.run(12) for name in record.ablated}
    assert hit == layers


def test_an_ablated_channel_is_gone_from_the_whole_stream() -> None:
    seen: list[int] = []

    def count(model: nn.Module) -> None:
        assert isinstance(model, Residual)
        written = [model.stem, *model.second]
        dead = {
            int(channel)
            for channel in range(6)
            if all(not bool(layer.weight[channel].any()) for layer in written)  # type: ignore[index,operator]
        }
        read = [*model.first, model.head]
        assert all(not bool(layer.weight[:, list(dead)].any()) for layer in read)  # type: ignore[index,operator]
        seen.append(len(dead))

    list(FrustrationEngine(Residual(), count, lambda m: 0.0, mode="channel", inputs=INPUTS).run(3))
    assert seen == [0, 1, 1]
