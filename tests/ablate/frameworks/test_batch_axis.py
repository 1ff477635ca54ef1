"""The batch axis of a torch model is measured: by runs on different numbers of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from antifragile.ablate.frameworks.torch.recorder import TorchRecorder
from antifragile.ablate.frameworks.torch.trace import batch_of
from antifragile.ablate.trace.batch import FoundBatch
from antifragile.ablate.trace.calls import Call

APART = "with other samples beside it, a sample gets another output, along every axis tried"


class Called(nn.Module):
    """A module whose forward is a function of its parts and the inputs."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.called = forward

    def forward(self, *inputs: Any) -> Any:
        return self.called(self.parts, *inputs)


def searched(model: nn.Module, *inputs: Any) -> FoundBatch:
    return batch_of(TorchRecorder({}), model, Call(args=inputs), list(model.parameters()))


def axes_of(model: nn.Module, *inputs: Any) -> list[int | None]:
    found = searched(model, *inputs)
    return [found.axes.get(id(item)) for item in inputs]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def tokens(*shape: int) -> Tensor:
    return torch.randint(11, shape, generator=torch.Generator().manual_seed(2))


def recurrent(*, batch_first: bool = False, backward: bool = False) -> Called:
    def forward(parts: Any, ids: Tensor) -> Tensor:
        x = parts["emb"](ids)
        time = 1 if batch_first else 0
        x = x.flip(time) if backward else x
        y: Tensor = parts["rnn"](x)[0]
        return y.flip(time) if backward else y

    return Called(forward, emb=nn.Embedding(11, 6), rnn=nn.GRU(6, 5, batch_first=batch_first))


def attention(*, batch_first: bool, gate: float | None = None) -> Called:
    """Attention without positions; scaled by a learned number where a gate is given."""

    def forward(parts: Any, x: Tensor) -> Tensor:
        y = parts["attend"](x, x, x)[0]
        return x + (y if gate is None else y * parts["gate"].weight)

    named = {"attend": nn.MultiheadAttention(8, 2, batch_first=batch_first)}
    model = Called(forward, **named, gate=nn.Linear(1, 1))
    if gate is not None:
        nn.init.constant_(model.parts["gate"].weight, gate)  # type: ignore[arg-type]
    return model


def position_wise() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))


IMAGES = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


@pytest.mark.parametrize(
    ("model", "inputs", "axes"),
    [
        pytest.param(recurrent(), [tokens(7, 3)], [1], id="time first"),
        pytest.param(recurrent(batch_first=True), [tokens(3, 7)], [0], id="batch first"),
        pytest.param(recurrent(), [tokens(4, 4)], [1], id="as many steps as samples"),
        pytest.param(recurrent(backward=True), [tokens(7, 3)], [1], id="read backwards"),
        pytest.param(recurrent(backward=True), [tokens(2, 2)], [1], id="two backwards"),
        pytest.param(recurrent(), [tokens(2, 3)], [1], id="two steps"),
        pytest.param(recurrent(), [tokens(5, 1)], [1], id="one sample of five steps"),
        pytest.param(attention(batch_first=True), [drawn(3, 5, 8)], [0], id="attention"),
        pytest.param(attention(batch_first=False), [drawn(5, 3, 8)], [1], id="over time first"),
        pytest.param(attention(batch_first=False), [drawn(2, 2, 8)], [1], id="of two steps"),
        pytest.param(
            attention(batch_first=False, gate=0.0), [drawn(5, 3, 8)], [1], id="gate shut at first"
        ),
        pytest.param(
            attention(batch_first=False, gate=1e-6), [drawn(5, 3, 8)], [1], id="gate nearly shut"
        ),
        pytest.param(IMAGES, [drawn(4, 3, 9, 9)], [0], id="images"),
        pytest.param(IMAGES, [drawn(1, 3, 9, 9)], [0], id="one image"),
        pytest.param(IMAGES, [drawn(2, 3, 9, 9)], [0], id="two images"),
        pytest.param(position_wise(), [drawn(5, 3, 8)], [0], id="every axis would do"),
        pytest.param(IMAGES.double(), [drawn(4, 3, 9, 9).double()], [0], id="double precision"),
    ],
)
def test_the_axis_along_which_samples_are_independent(
    model: nn.Module, inputs: list[Tensor], axes: list[int | None]
) -> None:
    model.to(inputs[0].dtype if inputs[0].is_floating_point() else torch.float32)
    assert axes_of(model, *inputs) == axes


def with_state(parts: Any, x: Tensor, state: Tensor) -> Any:
    return parts["rnn"](x, state)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_each_input_has_an_axis_of_its_own(batch: int) -> None:
    model = Called(with_state, rnn=nn.GRU(5, 6, batch_first=True))
    assert axes_of(model, drawn(batch, 4, 5), drawn(1, batch, 6)) == [0, 1]
    deep = Called(with_state, rnn=nn.GRU(5, 6, num_layers=2, batch_first=True))
    assert axes_of(deep, drawn(batch, 4, 5), drawn(2, batch, 6)) == [0, 1]


def test_an_input_without_samples_is_left_whole() -> None:
    def forward(parts: Any, mask: Tensor, x: Tensor) -> Any:
        return parts["attend"](x, x, x, attn_mask=mask)[0]

    model = Called(forward, attend=nn.MultiheadAttention(8, 2, batch_first=True))
    mask = torch.ones(5, 5).triu(1).bool()
    assert axes_of(model, mask, drawn(3, 5, 8)) == [None, 0]
    assert axes_of(model, mask, drawn(5, 5, 8)) == [None, 0]


def test_lengths_may_have_to_be_in_order() -> None:
    def forward(parts: Any, x: Tensor, lengths: Tensor) -> Any:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return parts["rnn"](packed)[1]

    model = Called(forward, rnn=nn.GRU(5, 6))
    lengths = torch.tensor([6, 4, 4, 2])
    assert axes_of(model, drawn(4, 6, 5), lengths) == [0, 0]


def test_a_loss_beside_the_output_says_nothing() -> None:
    def forward(parts: Any, ids: Tensor) -> Any:
        y = parts["rnn"](parts["emb"](ids))[0]
        return {"logits": y.reshape(-1, 5), "loss": y.square().mean()}

    parts = recurrent().parts
    assert axes_of(Called(forward, **dict(parts.items())), tokens(7, 3)) == [1]


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda parts, x: x.cumsum(1) - x.mean(0), APART),
        (lambda parts, x: x.square().mean(), "no output has an axis for the samples"),
        (lambda parts, x: x * torch.nan, APART),
        (lambda parts, x: x.cumsum(1) + torch.rand_like(x), APART),
        (lambda parts, x: parts["norm"](x).cumsum(1), APART),
        (lambda parts, x: x.cumsum(1).view(4, 8), APART),  # only this number of samples
        (lambda parts, x: x @ x.T, APART),  # each sample with each
    ],
)
def test_where_samples_influence_one_another_there_is_none(
    forward: Callable[..., Any], reason: str
) -> None:
    model = Called(forward, norm=nn.BatchNorm1d(8, track_running_stats=False))
    found = searched(model, drawn(4, 8))
    assert (found.batch.size, found.batch.reason, found.axes) == (0, reason, {})


def test_a_model_that_does_not_run_again_has_none() -> None:
    def forward(parts: Any, x: Tensor) -> Tensor:
        raise KeyError("only twice")

    found = searched(Called(forward), drawn(4, 8))
    assert found.batch.reason == "the model does not run once more (KeyError)"


def test_weights_and_inputs_are_as_they_were() -> None:
    def forward(parts: Any, x: Tensor) -> Any:
        return parts["out"](x.mul_(2))

    model, x = Called(forward, out=nn.Linear(8, 3)), drawn(4, 8)
    nn.init.zeros_(model.parts["out"].weight)  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    given = x.clone()
    assert axes_of(model, x) == [0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(x, given)


def test_one_run_more_for_each_of_the_two_numbers_of_samples() -> None:
    counts = []

    def forward(parts: Any, x: Tensor) -> Tensor:
        counts.append(len(x))
        return x.relu()

    searched(Called(forward), drawn(8, 5))
    assert counts == [8, 3]


def test_tries_are_bounded() -> None:
    counts = []

    def forward(parts: Any, x: Tensor) -> Tensor:
        counts.append(len(x))
        return x - x.mean()

    searched(Called(forward), drawn(2, 3, 2, 3, 2, 3, 2, 3, 2, 3))
    assert len(counts) == 1 + 8
