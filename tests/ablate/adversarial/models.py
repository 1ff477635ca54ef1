"""Small models for the whole way from source to certificate, with what their rows must say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

Expected = Callable[[Any, torch.Tensor], torch.Tensor]  # of the unchanged model and its input

_HEAD = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n\n"
_TAIL = "\n\ndef build():\n    return Net()\n\n\ndef inputs():\n    return (torch.randn(4, 8),)\n"


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model.

    Args:
        text: Its file.
        computes: Component and kind -> what the certified variant computes in evaluation mode.
        refused: Component and kind -> words of the reason why there is no certificate.
        unlisted: Components that have no ablation at all -> words of the reason.
    """

    text: str
    computes: Mapping[tuple[str, str], Expected] = field(default_factory=dict)
    refused: Mapping[tuple[str, str], str] = field(default_factory=dict)
    unlisted: Mapping[str, str] = field(default_factory=dict)


def net(init: str, forward: str, top: str = "") -> str:
    """The file of a model `Net`."""
    lines = ["class Net(nn.Module):", "    def __init__(self):", "        super().__init__()"]
    lines += [f"        {line}" for line in init.splitlines()]
    lines += [
        "",
        "    def forward(self, x):",
        *(f"        {line}" for line in forward.splitlines()),
    ]
    return _HEAD + (top + "\n\n" if top else "\n") + "\n".join(lines) + "\n" + _TAIL


MODELS = {
    "a norm before an activation in place, and a skip": Model(
        text=net(
            "self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)\n"
            "self.norm, self.act = nn.LayerNorm(8), nn.ReLU(inplace=True)",
            "x = self.first(x)\nreturn x + self.last(self.act(self.norm(x)))",
        ),
        computes={
            ("Net.norm", "identity"): lambda m, x: m.first(x) + m.last(F.relu(m.first(x))),
        },
    ),
    "another name of what is changed in place": Model(
        text=net(
            "self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)",
            "h = self.first(x)\nout = h\nout += self.last(x)\nreturn out * torch.sigmoid(h)",
        ),
        computes={
            ("Net.forward:out of out + self.last", "zero"): lambda m, x: (
                m.last(x) * torch.sigmoid(m.last(x))
            ),
        },
    ),
    "a class that forward asks for": Model(
        text=net(
            "self.norm, self.last = nn.LayerNorm(8), nn.Linear(8, 8)",
            "h = self.norm(x) if isinstance(self.norm, nn.LayerNorm) else 7 * x\n"
            "return self.last(h)",
        ),
        computes={("Net.norm", "identity"): lambda m, x: m.last(x)},
    ),
    "a straight-through estimator": Model(
        text=net(
            "self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)",
            "q = self.first(x)\nreturn self.last((torch.round(q) - q).detach() + q)",
        ),
        refused={
            ("Net.forward:torch.round - q", "remove-branch"): "straight-through estimator",
        },
    ),
    "a class called Identity that bends": Model(
        text=net(
            "self.bend, self.last = Identity(), nn.Linear(8, 8)",
            "return self.last(self.bend(x))",
            "class Identity(nn.Module):\n    def forward(self, x):\n        return torch.tanh(x)",
        ),
        computes={("Net.bend", "identity"): lambda m, x: m.last(x)},
    ),
    "an identity by another name": Model(
        text=net(
            "self.norm, self.last = Norm(), nn.Linear(8, 8)",
            "return self.last(self.norm(x))",
            "class Norm(nn.Module):\n    def forward(self, x):\n        return x",
        ),
        unlisted={"Net.norm": "already an identity"},
    ),
    "one module, two uses": Model(
        text=net(
            "self.shared, self.last = nn.Linear(8, 8), nn.Linear(8, 8)",
            "x = torch.tanh(self.shared(x))\n"
            "x = torch.sigmoid(self.shared(x))\nreturn self.last(x)",
        ),
        computes={
            ("Net.shared", "identity"): lambda m, x: m.last(torch.sigmoid(torch.tanh(x))),
            ("Net.forward:self.shared (use 1)", "identity"): lambda m, x: m.last(
                torch.sigmoid(m.shared(torch.tanh(x)))
            ),
            ("Net.forward:self.shared (use 2)", "identity"): lambda m, x: m.last(
                torch.sigmoid(torch.tanh(m.shared(x)))
            ),
        },
    ),
    "registered twice": Model(
        text=net(
            "self.one = nn.Linear(8, 8)\nself.two = self.one\nself.last = nn.Linear(8, 8)",
            "return self.last(torch.tanh(self.two(torch.tanh(self.one(x)))))",
        ),
        computes={("Net.one", "identity"): lambda m, x: m.last(torch.tanh(torch.tanh(x)))},
    ),
    "tied weights": Model(
        text=net(
            "self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)\n"
            "self.last.weight = self.first.weight",
            "return self.last(torch.tanh(self.first(x)))",
        ),
        computes={("Net.forward:torch.tanh", "identity"): lambda m, x: m.last(m.first(x))},
    ),
    "dropout that does nothing": Model(
        text=net(
            "self.drop, self.last = nn.Dropout(0.0), nn.Linear(8, 8)",
            "return self.last(self.drop(x))",
        ),
        unlisted={"Net.drop": "dropout with probability 0"},
    ),
    "a forward hook": Model(
        text=net(
            "self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)\n"
            "self.first.register_forward_hook(lambda module, given, out: torch.tanh(out))",
            "return self.last(self.first(x))",
        ),
        computes={("Net.last", "identity"): lambda m, x: m.first(x)},
    ),
    "a hook before forward": Model(
        text=net(
            "self.bend, self.last = nn.Tanh(), nn.Linear(8, 8)\n"
            "self.last.register_forward_pre_hook(lambda module, given: (given[0] * 2,))",
            "return self.last(self.bend(x))",
        ),
        computes={("Net.bend", "identity"): lambda m, x: m.last(x)},
    ),
    "an identity with a hook that bends": Model(
        text=net(
            "self.odd, self.last = nn.Identity(), nn.Linear(8, 8)\n"
            "self.odd.register_forward_hook(lambda module, given, out: torch.tanh(out))",
            "return self.last(self.odd(x))",
        ),
    ),
    "written in place": Model(
        text=net(
            "self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)\n"
            "self.relu = nn.ReLU(inplace=True)",
            "h = self.first(x)\nself.relu(h)\nreturn self.last(h)",
        ),
        computes={("Net.relu", "identity"): lambda m, x: m.last(m.first(x))},
    ),
    "the last of a list": Model(
        text=net(
            "self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])",
            "x = torch.tanh(self.layers[0](x))\nreturn self.layers[-1](x)",
        ),
        computes={("Net.forward:torch.tanh", "identity"): lambda m, x: m.layers[1](m.layers[0](x))},
    ),
    "a branch that starts at zero": Model(
        text=net(
            "self.branch, self.last = nn.Linear(8, 8), nn.Linear(8, 8)\n"
            "self.scale = nn.Parameter(torch.zeros(8))",
            "x = x + self.scale * self.branch(x)\nreturn self.last(x)",
        ),
    ),
    "a skip beside a product": Model(
        text=net(
            "self.keep, self.inp = nn.Linear(8, 8), nn.Linear(8, 8)",
            "state = torch.zeros_like(x)\nfor _ in range(3):\n"
            "    f = torch.sigmoid(self.keep(x))\n    state = f * state + self.inp(x)\n"
            "return state",
        ),
        refused={("Net.forward:self.inp of (f * state) + self.inp", "zero"): "dead"},
    ),
    "nothing from the sum": Model(
        text=net(
            "self.first, self.norm, self.last = nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8)",
            "h = self.first(x)\nreturn self.last(h + self.norm(h) * 0.0)",
        ),
        refused={("Net.norm", "identity"): "it changes nothing"},
    ),
    "used in evaluation only": Model(
        text=net(
            "self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)",
            "if not self.training:\n    x = torch.tanh(x)\nreturn self.last(self.first(x))",
        ),
        computes={("Net.forward:torch.tanh", "identity"): lambda m, x: m.last(m.first(x))},
    ),
    "called with the class": Model(
        text=net(
            "self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8)",
            "h = nn.Linear.forward(self.first, x)\nreturn self.last(torch.tanh(h))",
        ),
        computes={("Net.forward:torch.tanh", "identity"): lambda m, x: m.last(m.first(x))},
    ),
    "statistics as buffers": Model(
        text=net(
            "self.norm, self.last = nn.BatchNorm1d(8), nn.Linear(8, 8)",
            "return self.last(self.norm(x * 2 + 1))",
        ),
        computes={("Net.norm", "identity"): lambda m, x: m.last(x * 2 + 1)},
    ),
    "a stem of zeros": Model(
        text=net(
            "self.stem, self.last = nn.Linear(8, 8), nn.Linear(8, 8)",
            "return self.last(F.gelu(self.stem(x)))",
        ),
        computes={("Net.stem", "identity"): lambda m, x: m.last(F.gelu(x))},
        refused={("Net.stem", "zero"): ""},
    ),
}
