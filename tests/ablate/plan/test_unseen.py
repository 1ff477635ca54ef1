"""Edits hold for code and inputs that the watched run did not reach: masks, other sizes, resets."""

from __future__ import annotations

from pathlib import Path

import torch

from antifragile.ablate.records import AblationKind, Planned, Refused
from antifragile.ablate.sandbox.server import Server
from tests.ablate.test_aliases import built, model, outcome, planned, variant_of

IDENTITY = AblationKind.IDENTITY


def variant(folder: Path, server: Server, text: str, name: str, kind: AblationKind) -> str:
    """The text of a model after one edit."""
    return variant_of(text, outcome(planned(folder, server, text), name, kind))


MASKED = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.values, self.last = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x, mask=None):
        v = self.values(x)
        if mask is not None:
            v.masked_fill_(mask, 0.0)
        return self.last(torch.tanh(v)) + x


def build():
    return Net()


def inputs():
    torch.manual_seed(0)
    return torch.randn(4, 8)
"""


def test_a_write_behind_a_mask_that_was_not_given_spares_the_input(
    tmp_path: Path, tracing: Server
) -> None:
    text = variant(tmp_path, tracing, MASKED, "Net.values", IDENTITY)
    x, mask = torch.ones(4, 8), torch.ones(4, 8, dtype=torch.bool)
    built(text)(x, mask)
    assert x.eq(1).all()


EITHER = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(16, 8)
        self.kind, self.last = nn.Parameter(torch.randn(3, 8)), nn.Linear(8, 8)

    def forward(self, tokens=None, embedded=None):
        if embedded is None:
            embedded = self.table(tokens)
        h = embedded + torch.tanh(self.last(embedded))
        h += self.kind
        return h


def build():
    return Net()


def inputs():
    torch.manual_seed(0)
    return torch.randint(0, 16, (4, 3))
"""


def test_what_a_caller_may_give_instead_is_not_written_into(
    tmp_path: Path, tracing: Server
) -> None:
    name, given = "Net.forward:embedded + torch.tanh", torch.ones(4, 3, 8)
    text = variant(tmp_path, tracing, EITHER, name, AblationKind.REMOVE_BRANCH)
    built(text)(None, given)
    assert given.eq(1).all()


RESET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.last = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x):
        return self.last(self.norm(x))

    def start_again(self):
        self.norm.reset_parameters()


def build():
    return Net()


def inputs():
    torch.manual_seed(0)
    return torch.randn(4, 8)
"""


def test_a_layer_that_a_method_resets_stays_for_it(tmp_path: Path, tracing: Server) -> None:
    found = built(variant(tmp_path, tracing, RESET, "Net.norm", IDENTITY))
    found.start_again()
    x = torch.randn(2, 8)
    assert torch.equal(found(x), found.last(x))


JOINED = """
import torch
from torch import nn


class Join(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(16, 8)

    def forward(self, skip, deep):
        return self.mix(torch.cat([skip, deep], 1))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.deep = nn.Linear(8, 8), nn.Linear(8, 8)
        self.join, self.last = Join(), nn.Linear(8, 8)

    def forward(self, x):
        skip = torch.tanh(self.down(x))
        return self.last(self.join(skip, torch.tanh(self.deep(skip))))


def build():
    return Net()


def inputs():
    torch.manual_seed(0)
    return torch.randn(4, 8)
"""


def test_passing_one_input_on_is_refused_where_it_cuts_off_what_makes_the_other(
    tmp_path: Path, tracing: Server
) -> None:
    found = outcome(planned(tmp_path, tracing, JOINED), "Net.join", IDENTITY)
    assert isinstance(found, Refused)
    assert found.reason == "its other inputs would be cut off, and with them deep.weight and 1 more"


def test_values_are_not_put_on_axes_where_they_do_not_belong(
    tmp_path: Path, tracing: Server
) -> None:
    text = model(
        "return self.last(self.fold(torch.tanh(self.first(x)).unflatten(1, (2, 4))))",
        "self.fold = Fold()",
        "\nclass Fold(nn.Linear):\n    def __init__(self):\n        super().__init__(8, 8)\n\n"
        "    def forward(self, x):\n        return super().forward(x.flatten(1))\n",
    )
    found = outcome(planned(tmp_path, tracing, text), "Model.fold", IDENTITY)
    assert isinstance(found, Refused)
    assert "it turns shape (4, 2, 4) into (4, 8)" in found.reason


VOLUMES = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv3d(2, 4, 2, stride=2), nn.BatchNorm3d(4))
        self.last = nn.Conv3d(4, 2, 1)

    def forward(self, x):
        return self.last(self.body(x)).mean((2, 3, 4))


def build():
    return Net()


def inputs():
    torch.manual_seed(0)
    return torch.randn(4, 2, 4, 4, 6)
"""


def test_volumes_are_averaged_axis_by_axis(tmp_path: Path, tracing: Server) -> None:
    found = built(variant(tmp_path, tracing, VOLUMES, "Net.body", IDENTITY))
    x = torch.randn(2, 2, 4, 4, 6)
    right = torch.nn.functional.avg_pool3d(x, 2).repeat_interleave(2, 1)
    torch.testing.assert_close(found.body(x), right)


def test_a_stand_in_asks_for_shapes_as_in_evaluation(tmp_path: Path, tracing: Server) -> None:
    """A batch norm refuses a single value per channel, which a shape does not depend on."""
    found = built(variant(tmp_path, tracing, VOLUMES, "Net.body", IDENTITY)).train()
    assert found(torch.randn(1, 2, 2, 2, 2)).shape == (1, 2)


POOLED = """
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(2, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        h = torch.tanh(self.conv(x))
        h = F.avg_pool2d(h, {window})
        return self.last(h.{end})


def build():
    return Net()


def inputs():
    torch.manual_seed(0)
    return torch.randn(4, 2, 6, 6)
"""


def test_pooling_to_one_position_holds_for_other_sizes(tmp_path: Path, tracing: Server) -> None:
    text = POOLED.format(window="h.size(3)", end="flatten(1)")
    found = built(variant(tmp_path, tracing, text, "Net.forward:F.avg_pool2d", IDENTITY))
    assert found(torch.randn(1, 2, 12, 12)).shape == (1, 2)


def test_a_window_that_is_computed_has_no_fixed_step(tmp_path: Path, tracing: Server) -> None:
    text = POOLED.format(window="h.size(3) // 2", end="mean((2, 3))")
    found = outcome(planned(tmp_path, tracing, text), "Net.forward:F.avg_pool2d", IDENTITY)
    assert found == Refused(reason="the size of its window is computed while it runs")


def test_what_has_features_last_is_averaged_over_the_others(
    tmp_path: Path, tracing: Server
) -> None:
    """Pairs of nodes, (B, N, N, F): without convolutions nothing has channels behind samples."""
    text = model(
        "pairs = torch.tanh(self.first(x)[:, None, None] + self.last(x)[:, None, None])\n"
        "pairs = pairs.expand(len(x), 3, 3, 8) * torch.arange(1.0, 4.0).view(1, 1, 3, 1)\n"
        "return torch.relu(pairs).sum((1, 2))"
    )
    found = outcome(planned(tmp_path, tracing, text), "Model.forward:torch.relu", AblationKind.MEAN)
    assert isinstance(found, Planned)
    assert found.substitute == "its mean over axes 1, 2 (taken to be positions), for each sample"
