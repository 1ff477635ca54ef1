"""Small models with one edit each, in which a careless certificate would be wrong.

Each trap names the guard of certification that it tries: `test_mutations` switches the guards off
one by one and shows that their traps then do get a false certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from antifragile.ablate.certify.workplace import Workplace
from antifragile.ablate.frameworks.subject import ModelCode
from antifragile.ablate.records import CertificateVerdict
from tests.ablate.certify.hand_cut_variants import INPUTS, Cut

REFUSED, FAILED = CertificateVerdict.REFUSED, CertificateVerdict.FAILED
CERTIFIED, AT_INIT = CertificateVerdict.CERTIFIED, CertificateVerdict.INACTIVE_AT_INIT

_TEXT = """
import functools
import os
import random
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

{top}

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        {init}

    def forward(self, x):
        {forward}


def build():
    return Model()
"""
LINEAR = ("first.weight", "first.bias")
BOTH = "self.first = nn.Linear(8, 8)\nself.last = nn.Linear(8, 8)"
NOTHING = "it changes nothing"


class Guard(StrEnum):
    """Checks of certification, each tried by some traps."""

    DEAD = "an output that stays when the inputs or the weights change is refused"
    ZERO_GRADIENT = "a gradient that is exactly zero is none"
    TAKES_MORE = "no other parameter may lose its gradient"
    NOISE = "a difference within rounding is none"
    FINITE = "infinities and NaN in outputs and gradients fail"
    SHAPE = "structure, shapes and types of the outputs stay"
    PARAMETERS = "the parameters change as predicted"
    REPEATS = "a run repeats bit for bit"
    STREAMS = "a draw does not depend on earlier draws"
    VALUES = "every tensor that survived gets the baseline's values"
    OUT_OF_REACH = "random numbers that cannot be copied are noticed"
    INPUTS = "the inputs stay"
    COMPARISON = "outputs are compared"
    ANSWER = "a process that does not answer in form fails"
    WEIGHTS_FILE = "the weights that variants share stay"


@dataclass(frozen=True, kw_only=True)
class Trap:
    """A model, one edit of it, and what its certificate must say.

    Args:
        text: The model's file.
        cut: The edit.
        verdict: The verdict it must get.
        reason: What the reason must hold.
        guard: The check that it tries; None for honest edits, which must not be refused.
        inputs: The text of `data.py`.
    """

    text: str
    cut: Cut
    verdict: CertificateVerdict
    reason: str
    guard: Guard | None
    inputs: str = INPUTS


def trap(
    guard: Guard | None,
    verdict: CertificateVerdict,
    reason: str,
    old: str,
    new: str,
    *,
    forward: str,
    init: str = BOTH,
    top: str = "",
    cut: tuple[str, ...] = (),
    delta: int = 0,
    inputs: str = INPUTS,
) -> Trap:
    """Make a trap from the parts of its model."""
    text = _TEXT.format(
        init=init.replace("\n", "\n        "), forward=forward.replace("\n", "\n        "), top=top
    )
    assert text.count(old) or inputs.count(old), old
    edit = Cut(old=old, new=new, cut_parameters=cut, parameter_delta=delta)
    return Trap(text=text, cut=edit, verdict=verdict, reason=reason, guard=guard, inputs=inputs)


_CHAIN = "h = torch.tanh(self.first(x))\nreturn self.last(h)"
_SUM = "a, b = self.first(x), self.last(x)\nreturn a + b"
_FRAMES = """
def find(name):
    frame = sys._getframe()
    while frame is not None and name not in frame.f_locals:
        frame = frame.f_back
    return frame and frame.f_locals[name]


def probe():
    frame = sys._getframe()
    while frame is not None and "run_variant" not in frame.f_globals:
        frame = frame.f_back
    return {} if frame is None else frame.f_globals
"""
_OTHER_RESULTS = "h = torch.tanh(self.first(x))\nh = h * 1.0\nreturn self.last(h)"

_honest_code = Workplace._code


def code_that_may_write_weights(place: Workplace, folder: str, *writable: Path) -> ModelCode:
    """A model's functions as `Workplace` makes them, with the weights of all among their own."""
    return _honest_code(place, folder, *writable, place.weights.parent)


TRAPS: dict[str, Trap] = {
    # ------------------------------------------------------------------ dead outputs
    "constant output": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on the inputs",
        "self.first(x)",
        "torch.ones_like(x)",
        forward=_CHAIN,
        cut=LINEAR,
    ),
    "times zero": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on the inputs",
        "torch.tanh(self.first(x))",
        "torch.tanh(self.first(x)) * 0",
        forward=_CHAIN,
        cut=(*LINEAR, "last.weight"),
    ),
    "minus itself": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on the inputs",
        "torch.tanh(self.first(x))",
        "(h0 := self.first(x)) - h0",
        forward=_CHAIN,
        cut=(*LINEAR, "last.weight"),
    ),
    "sum of a softmax": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on the inputs",
        "h = h * 1.0",
        "h = h.softmax(-1).sum(-1, keepdim=True).expand_as(h)",
        forward=_OTHER_RESULTS,
        cut=LINEAR,
    ),
    "norm of a constant": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on the inputs",
        "self.squeeze(x)",
        "self.squeeze(x)[:, :1].expand_as(x)",
        init="self.squeeze = nn.Linear(8, 8)\nself.norm = nn.LayerNorm(8)",
        forward="return self.norm(self.squeeze(x))",
        cut=("squeeze.weight", "squeeze.bias"),
    ),
    "one of two outputs": trap(
        Guard.DEAD,
        REFUSED,
        "(evaluation[1], training[1])",
        "self.last(x)",
        "self.last(torch.ones_like(x))",
        forward="return self.first(x), self.last(x)",
    ),
    "leaky state": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on the inputs",
        "keep * state + self.last(x)",
        "keep * state",
        forward="state = torch.zeros_like(x)\nfor _ in range(3):\n"
        "    keep = torch.sigmoid(self.first(x))\n    state = keep * state + self.last(x)\n"
        "return state * 2",
        cut=("last.weight", "last.bias", *LINEAR),
    ),
    "dead in evaluation": trap(
        Guard.DEAD,
        REFUSED,
        "(evaluation)",
        "self.last(h)",
        "self.last(h if self.training else torch.zeros_like(h))",
        forward=_CHAIN,
    ),
    "the parameters do nothing": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on any parameter",
        "return self.last(h)",
        "return x.cos() + 0 * self.last(h)",
        forward=_CHAIN,
        cut=(*LINEAR, "last.weight", "last.bias"),
    ),
    "cached at the first call": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on the inputs",
        "torch.tanh(self.first(x))",
        "CACHE.setdefault('h', torch.tanh(self.first(x)).detach())",
        top="CACHE = {}\n",
        forward=_CHAIN,
        cut=LINEAR,
    ),
    "cached by shape": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on the inputs",
        "torch.tanh(self.first(x))",
        "table(tuple(x.shape))",
        top="@functools.lru_cache\ndef table(shape):\n"
        "    return torch.linspace(0, 1, 32).reshape(shape)\n",
        forward=_CHAIN,
        cut=LINEAR,
    ),
    "remembered by the class": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on the inputs",
        "h = h * 1.0",
        "Model.seen = h = getattr(Model, 'seen', h.detach())",
        forward=_OTHER_RESULTS,
        cut=LINEAR,
    ),
    "constant on the inputs that are allowed": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on the inputs",
        "self.first(x)",
        "x.sum(-1, keepdim=True).expand(4, 8)",
        forward=_CHAIN,
        cut=LINEAR,
        inputs="import torch\n\ndef inputs():\n    return (torch.randn(4, 8).softmax(-1),)\n",
    ),
    "other inputs are checked": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on the inputs",
        "self.first(x)",
        "torch.ones_like(x)",
        forward="assert torch.allclose(x.sum(-1), torch.ones(4))\n" + _CHAIN,
        cut=LINEAR,
        inputs="import torch\n\ndef inputs():\n    return (torch.randn(4, 8).softmax(-1),)\n",
    ),
    "constant up to the rounding inside": trap(
        Guard.DEAD,
        REFUSED,
        "dead: the output no longer depends on the inputs",
        "h = h * 1.0",
        "h = h.bfloat16().exp(); h = (h / h.sum(-1, True)).sum(-1, True).float().expand(4, 8)",
        forward=_OTHER_RESULTS,
        cut=LINEAR,
    ),
    "all but zero": trap(
        Guard.DEAD,
        REFUSED,
        "dead: other inputs move the output by",
        "torch.tanh(h)",
        "torch.tanh(h) * 1e-25",
        init="self.first = nn.Linear(8, 8)\nself.last = nn.Linear(8, 8, bias=False)",
        forward="h = self.first(x)\nreturn self.last(torch.tanh(h))",
    ),
    # ------------------------------------------------------------------ gradients
    "a branch times next to nothing": trap(
        Guard.ZERO_GRADIENT,
        REFUSED,
        "the gradient of parameters that are not the component's",
        "return a + b",
        "return a * 1e-25 + b",
        forward=_SUM,
    ),
    "a branch times zero": trap(
        Guard.ZERO_GRADIENT,
        REFUSED,
        "the gradient of parameters that are not the component's",
        "return a + b",
        "return a * 0 + b",
        forward=_SUM,
    ),
    "a hook ends the gradient": trap(
        Guard.ZERO_GRADIENT,
        REFUSED,
        "the gradient of parameters that are not the component's",
        "return a + b",
        "a.requires_grad and a.register_hook(lambda g: g * 0); return a * 2 + b",
        forward=_SUM,
    ),
    "a backward hook of a module": trap(
        Guard.ZERO_GRADIENT,
        REFUSED,
        "first.bias, first.weight",
        "self.late = nn.Tanh()",
        "self.late = nn.ReLU()\n        self.late.register_full_backward_hook("
        "lambda m, i, o: tuple(g * 0 for g in i))",
        init=BOTH + "\nself.late = nn.Tanh()",
        forward="return self.late(self.first(x)) + self.last(x)",
    ),
    "a saturated gate": trap(
        Guard.ZERO_GRADIENT,
        REFUSED,
        "first.bias, first.weight",
        "torch.sigmoid(a)",
        "torch.sigmoid(a * 1e6 + 1e9)",
        forward="a, b = self.first(x), self.last(x)\nreturn torch.sigmoid(a) * b",
    ),
    "a dead rectifier": trap(
        Guard.ZERO_GRADIENT,
        REFUSED,
        "first.bias, first.weight",
        "torch.tanh(a)",
        "torch.relu(a - 1e6)",
        forward="a, b = self.first(x), self.last(x)\nreturn torch.tanh(a) + b",
    ),
    "detached": trap(
        Guard.TAKES_MORE,
        REFUSED,
        "the gradient of parameters that are not the component's",
        "torch.tanh(self.first(x))",
        "self.first(x).detach()",
        forward=_CHAIN,
    ),
    "no gradient inside": trap(
        Guard.TAKES_MORE,
        REFUSED,
        "first.bias, first.weight",
        "h = h * 1.0",
        "h = torch.tensor((h * 2).tolist())",
        forward=_OTHER_RESULTS,
    ),
    "rounded": trap(
        Guard.TAKES_MORE,
        REFUSED,
        "first.bias, first.weight",
        "h = h * 1.0",
        "h = (h > 0).float()",
        forward=_OTHER_RESULTS,
    ),
    "swapped operands": trap(
        Guard.TAKES_MORE,
        REFUSED,
        "last.bias, last.weight",
        "return a + b",
        "return a",
        forward=_SUM,
        cut=LINEAR,
    ),
    "frozen besides": trap(
        Guard.TAKES_MORE,
        REFUSED,
        "last.bias, last.weight",
        "h = torch.tanh(self.first(x))",
        "h = self.first(x); self.last.requires_grad_(False)",
        forward=_CHAIN,
    ),
    # ------------------------------------------------------------------ rounding
    "times three thirds": trap(
        Guard.NOISE, REFUSED, NOTHING, "h = h * 1.0", "h = h * 3 / 3", forward=_OTHER_RESULTS
    ),
    "another order of a sum": trap(
        Guard.NOISE,
        REFUSED,
        NOTHING,
        "(a + b) + x",
        "a + (b + x)",
        forward="a, b = self.first(x), self.last(x)\nreturn (a + b) + x",
    ),
    "the same by other means": trap(
        Guard.NOISE,
        REFUSED,
        NOTHING,
        "self.last(h)",
        "torch.einsum('bi,oi->bo', h.double(), self.last.weight.double()).float() + self.last.bias",
        forward=_CHAIN,
    ),
    "a shift that a softmax in half precision cancels": trap(
        Guard.NOISE,
        REFUSED,
        "it changes nothing beyond rounding",
        "(a + b).half()",
        "a.half()",
        init="self.first = nn.Linear(8, 8)\nself.shift = nn.Linear(8, 1)",
        forward="a, b = self.first(x), 5 * self.shift(x)\n"
        "return torch.softmax((a + b).half(), -1).float()",
        cut=("shift.weight", "shift.bias"),
    ),
    "a shift that a softmax under autocast cancels": trap(
        Guard.NOISE,
        REFUSED,
        "it changes nothing beyond rounding",
        "a + self.shift(x)",
        "a",
        init=BOTH + "\nself.shift = nn.Linear(8, 1)",
        forward="with torch.autocast('cpu', dtype=torch.bfloat16):\n"
        "    a = self.first(x)\n    a = a + self.shift(x)\n"
        "    y = a.softmax(-1).bfloat16() @ self.last.weight\nreturn y.float()",
        cut=("shift.weight", "shift.bias"),
    ),
    "rounding that grows": trap(
        Guard.NOISE,
        REFUSED,
        "it changes nothing beyond rounding",
        "(a + b)",
        "(a)",
        init=BOTH + "\nself.shift = nn.Linear(8, 1)",
        forward="a, b = self.first(x), self.shift(x)\nw = torch.softmax((a + b), -1)\n"
        "for _ in range(40):\n    w = 3.9 * w * (1 - w)\nreturn self.last(w)",
        cut=("shift.weight", "shift.bias"),
    ),
    "a digit far behind": trap(
        Guard.NOISE,
        REFUSED,
        "it changes nothing beyond rounding",
        "(a + b)",
        "(a)",
        init=BOTH + "\nself.shift = nn.Linear(8, 1)",
        forward="a, b = self.first(x), self.shift(x)\nw = torch.softmax((a + b), -1)\n"
        "return self.last(w + torch.frac(w.detach() * 1e6))",
        cut=("shift.weight", "shift.bias"),
    ),
    # ------------------------------------------------------------------ numbers that are none
    "divided by zero": trap(
        Guard.FINITE,
        FAILED,
        "the output holds infinities or NaN",
        "self.first(x)",
        "self.first(x) / 0.0 * 0.0",
        forward=_CHAIN,
    ),
    "infinite in training": trap(
        Guard.FINITE,
        FAILED,
        "the output holds infinities or NaN",
        "self.last(h)",
        "self.last(h) * (float('inf') if self.training else 2)",
        forward=_CHAIN,
    ),
    "a gradient that is none": trap(
        Guard.FINITE,
        FAILED,
        "the gradients hold infinities or NaN",
        "torch.tanh(a)",
        "torch.sqrt((a * 0).abs())",
        forward="a, b = self.first(x), self.last(x)\nreturn torch.tanh(a) + b",
        cut=LINEAR,
    ),
    # ------------------------------------------------------------------ form of the output
    "broadcast": trap(
        Guard.SHAPE, FAILED, "the output is", "self.last(h)", "self.last(h)[:, :1]", forward=_CHAIN
    ),
    "another type": trap(
        Guard.SHAPE,
        FAILED,
        "float64 instead of",
        "self.last(h)",
        "self.last(h).double() * 2",
        forward=_CHAIN,
    ),
    "another structure": trap(
        Guard.SHAPE,
        FAILED,
        "the output is",
        "return self.last(h), h",
        "return {'a': self.last(h)}",
        forward=_CHAIN + ", h",
    ),
    "another structure in training": trap(
        Guard.SHAPE,
        FAILED,
        "the output is",
        "return self.last(h)",
        "return (self.last(h), h) if self.training else self.last(h)",
        forward=_CHAIN,
    ),
    "turned around": trap(
        Guard.SHAPE, FAILED, "the output is", "self.last(h)", "self.last(h).T", forward=_CHAIN
    ),
    # ------------------------------------------------------------------ parameters
    "takes a layer along": trap(
        Guard.PARAMETERS,
        FAILED,
        "the number of parameters changed by -72 instead of +0",
        "nn.Linear(8, 8)\n        self.last",
        "nn.Identity()\n        self.last",
        forward=_CHAIN,
    ),
    "renamed": trap(
        Guard.PARAMETERS,
        FAILED,
        "parameters vanished that were not to be cut",
        "self.last = nn.Linear(8, 8)",
        "torch.rand(1); self.other = nn.Linear(8, 8)",
        forward="return [*self.children()][1](torch.tanh(self.first(x)))",
    ),
    "without weight norm": trap(
        Guard.PARAMETERS,
        FAILED,
        "the number of parameters changed by -8 instead of +0",
        "nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))",
        "nn.Linear(8, 8)",
        init="self.last = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))",
        forward="return self.last(x)",
    ),
    "a layer more": trap(
        Guard.PARAMETERS,
        FAILED,
        "the number of parameters changed by +72 instead of +0",
        "self.last = nn.Linear(8, 8)",
        "self.last = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))",
        forward=_CHAIN,
    ),
    # ------------------------------------------------------------------ repetition
    "random by the system": trap(
        Guard.REPEATS,
        FAILED,
        "not deterministic",
        "h = h * 1.0",
        "h = h * int.from_bytes(os.urandom(4), 'big')",
        forward=_OTHER_RESULTS,
    ),
    "random by the clock": trap(
        Guard.REPEATS,
        FAILED,
        "not deterministic",
        "h = h * 1.0",
        "h = h * (time.perf_counter_ns() % 1_000_003)",
        forward=_OTHER_RESULTS,
    ),
    "counts its calls": trap(
        Guard.REPEATS,
        FAILED,
        "not deterministic",
        "h = h * 1.0",
        "CALLS.append(1); h = h * len(CALLS)",
        top="CALLS = []\n",
        forward=_OTHER_RESULTS,
    ),
    "counts its objects": trap(
        Guard.REPEATS,
        FAILED,
        "not deterministic",
        "super().__init__()",
        "super().__init__(); Model.count = getattr(Model, 'count', 0) + 1",
        forward="h = self.first(x) * getattr(Model, 'count', 1)\nreturn self.last(h)",
    ),
    "by where objects lie": trap(
        Guard.REPEATS,
        FAILED,
        "not deterministic",
        "h = h * 1.0",
        "KEPT.append(object()); h = h * (id(KEPT[-1]) % 8191)",
        top="KEPT = []\n",
        forward=_OTHER_RESULTS,
    ),
    "only its gradients do not repeat": trap(
        Guard.REPEATS,
        FAILED,
        "not deterministic: with the same seed and weights, the gradients",
        "h = h * 1.0",
        "h.requires_grad and h.register_hook("
        "lambda g: g * int.from_bytes(os.urandom(4), 'big')); h = h * 2",
        forward=_OTHER_RESULTS,
    ),
    # ------------------------------------------------------------------ draws
    "a draw that nobody uses": trap(
        Guard.STREAMS,
        REFUSED,
        NOTHING,
        "unused = torch.rand(3)",
        "pass",
        forward="unused = torch.rand(3)\nreturn self.last(F.dropout(x, 0.5, self.training))",
    ),
    "a draw of numpy": trap(
        Guard.STREAMS,
        REFUSED,
        NOTHING,
        "unused = np.random.rand(3)",
        "pass",
        forward="unused = np.random.rand(3)\nreturn self.last(x * float(np.random.uniform(1, 2)))",
    ),
    "dropout of what is dropped": trap(
        Guard.STREAMS,
        REFUSED,
        NOTHING,
        "F.dropout(x * 0, 0.5)",
        "(x * 0)",
        forward="x = x + F.dropout(x * 0, 0.5)\nreturn self.last(F.dropout(x, 0.5, self.training))",
    ),
    # ------------------------------------------------------------------ values
    "a layer that nobody calls": trap(
        Guard.VALUES,
        REFUSED,
        NOTHING,
        "self.spare = nn.Linear(8, 8)",
        "pass",
        init="self.spare = nn.Linear(8, 8)\n" + BOTH,
        forward=_CHAIN,
        cut=("spare.weight", "spare.bias"),
        delta=-72,
    ),
    "layers in a list": trap(
        Guard.VALUES,
        REFUSED,
        NOTHING,
        "self.spare = nn.Linear(8, 8)",
        "pass",
        init="self.spare = nn.Linear(8, 8)\nself.layers = [nn.Linear(8, 8), nn.Linear(8, 8)]",
        forward="return self.layers[1](self.layers[0](x))",
        cut=("spare.weight", "spare.bias"),
        delta=-72,
    ),
    "a layer in a closure": trap(
        Guard.VALUES,
        REFUSED,
        NOTHING,
        "self.spare = nn.Linear(8, 8)",
        "pass",
        init="self.spare = nn.Linear(8, 8)\nlayer = nn.Linear(8, 8)\nself.go = lambda x: layer(x)",
        forward="return self.go(x)",
        cut=("spare.weight", "spare.bias"),
        delta=-72,
    ),
    "a random buffer": trap(
        Guard.VALUES,
        REFUSED,
        NOTHING,
        "self.spare = nn.Linear(8, 8)",
        "pass",
        init="self.spare = nn.Linear(8, 8)\nself.last = nn.Linear(8, 8)\n"
        "self.register_buffer('noise', torch.randn(8), persistent=False)",
        forward="return self.last(x * self.noise)",
        cut=("spare.weight", "spare.bias"),
        delta=-72,
    ),
    "spectral norm's own buffers": trap(
        Guard.VALUES,
        REFUSED,
        NOTHING,
        "self.spare = nn.Linear(8, 8)",
        "pass",
        init="self.spare = nn.Linear(8, 8)\n"
        "self.last = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))",
        forward="return self.last(x)",
        cut=("spare.weight", "spare.bias"),
        delta=-72,
    ),
    "a number drawn in build": trap(
        Guard.OUT_OF_REACH,
        REFUSED,
        "cannot be told from another initialisation",
        "self.spare = nn.Linear(8, 8)",
        "pass",
        init="self.spare = nn.Linear(8, 8)\nself.last = nn.Linear(8, 8)\n"
        "self.scale = torch.rand(1).item()",
        forward="return self.last(x) * self.scale",
        cut=("spare.weight", "spare.bias"),
        delta=-72,
    ),
    "an activation drawn in build": trap(
        Guard.OUT_OF_REACH,
        REFUSED,
        "cannot be told from another initialisation",
        "self.spare = nn.Linear(8, 8)",
        "pass",
        init="self.spare = nn.Linear(8, 8)\nself.last = nn.Linear(8, 8)\n"
        "self.power = int(torch.randint(1, 1000, (1,)))",
        forward="return self.last(x).abs().add(1).pow(self.power / 1000)",
        cut=("spare.weight", "spare.bias"),
        delta=-72,
    ),
    # ------------------------------------------------------------------ inputs
    "other inputs": trap(
        Guard.INPUTS,
        FAILED,
        "the inputs differ from the baseline's",
        "SCALE = 1.0",
        "SCALE = 2.0",
        top="SCALE = 1.0\n",
        forward=_CHAIN,
        inputs="import model\nimport torch\n\ndef inputs():\n"
        "    return (torch.randn(4, 8) * model.SCALE,)\n",
    ),
    # ------------------------------------------------------------------ edits without effect
    "dropout with probability zero": trap(
        Guard.COMPARISON,
        REFUSED,
        NOTHING,
        "F.dropout(h, 0.0, self.training)",
        "h",
        forward="h = self.first(x)\nreturn self.last(F.dropout(h, 0.0, self.training))",
    ),
    "rectified twice": trap(
        Guard.COMPARISON,
        REFUSED,
        NOTHING,
        "torch.relu(torch.relu(h))",
        "torch.relu(h)",
        forward="h = self.first(x)\nreturn self.last(torch.relu(torch.relu(h)))",
    ),
    "a branch by shape": trap(
        Guard.COMPARISON,
        REFUSED,
        NOTHING,
        "h = h * 9",
        "h = h",
        forward="h = self.first(x)\nif x.shape[0] > 64:\n    h = h * 9\nreturn self.last(h)",
    ),
    "a call that goes past forward": trap(
        Guard.COMPARISON,
        REFUSED,
        NOTHING,
        "h = h * 1.0",
        "h = h * 9.0",
        init=BOTH + "\ntype(self).__call__ = lambda self, x: self.last(self.first(x))",
        forward="h = self.first(x)\nh = h * 1.0\nreturn self.last(h)",
    ),
    "a hook that puts it back": trap(
        Guard.COMPARISON,
        REFUSED,
        NOTHING,
        "nn.Tanh()",
        "nn.ReLU()",
        init=BOTH + "\nself.bend = nn.Tanh()\n"
        "self.bend.register_forward_hook(lambda m, given, out: torch.tanh(given[0]))",
        forward="return self.last(self.bend(self.first(x)))",
    ),
    "momentum of statistics": trap(
        Guard.COMPARISON,
        REFUSED,
        NOTHING,
        "momentum=0.1",
        "momentum=0.2",
        init=BOTH + "\nself.norm = nn.BatchNorm1d(8, momentum=0.1)",
        forward="return self.last(self.norm(self.first(x)))",
    ),
    "an attribute made on demand": trap(
        Guard.COMPARISON,
        REFUSED,
        NOTHING,
        "return 1.0",
        "return 1.0 + 0 * len(name)",
        top="class Lazy:\n    def __getattr__(self, name):\n        return 1.0\n",
        forward="return self.last(x) * Lazy().anything",
    ),
    "the judge's function rewritten": trap(
        Guard.COMPARISON,
        REFUSED,
        NOTHING,
        "x * 0.0 + h",
        "h",
        top="def forge():\n    for name, module in list(sys.modules.items()):\n"
        "        if name.startswith('antifragile.') and hasattr(module, 'difference'):\n"
        "            honest = module.difference\n"
        "            def lie(a, b):\n                found = honest(a, b)\n"
        "                return type(found)(identical=False, relative=0.5)\n"
        "            module.difference = lie\n",
        init=BOTH + "\nforge()",
        forward="h = self.first(x)\nreturn self.last(x * 0.0 + h)",
    ),
    # ------------------------------------------------------------------ answers
    "ends the process": trap(
        Guard.ANSWER,
        FAILED,
        "ended the process with exit code 0",
        "h = h * 1.0",
        "os._exit(0)",
        forward=_OTHER_RESULTS,
    ),
    "leaves rubbish": trap(
        Guard.ANSWER,
        FAILED,
        "left no results that can be read: its file is no file of arrays",
        "h = h * 1.0",
        "probe().update(save_arrays=lambda path, arrays: path.write_bytes(b'rubbish')); h = h * 2",
        top=_FRAMES,
        forward=_OTHER_RESULTS,
    ),
    "leaves nothing": trap(
        Guard.ANSWER,
        FAILED,
        "left no results that can be read: its file is missing",
        "h = h * 1.0",
        "probe().update(save_arrays=lambda path, arrays: None); h = h * 2",
        top=_FRAMES,
        forward=_OTHER_RESULTS,
    ),
    "leaves a link": trap(
        Guard.ANSWER,
        FAILED,
        "left no results that can be read: its file is missing or no plain",
        "h = h * 1.0",
        "probe().update(save_arrays=lambda path, arrays: path.symlink_to('/dev/zero')); h = h * 2",
        top=_FRAMES,
        forward=_OTHER_RESULTS,
    ),
    "leaves too much": trap(
        Guard.ANSWER,
        FAILED,
        "left no results that can be read: its file has 2,147,483,648 bytes",
        "h = h * 1.0",
        "probe().update(save_arrays=lambda path, arrays: (path.touch(), "
        "os.truncate(path, 1 << 31)))"
        "; h = h * 2",
        top=_FRAMES,
        forward=_OTHER_RESULTS,
    ),
    "leaves half": trap(
        Guard.ANSWER,
        FAILED,
        "left no arrays of the output in evaluation mode on randomised",
        "h = h * 1.0",
        "keep = probe().get('save_arrays'); (keep and find('weights_file')) and probe().update("
        "save_arrays=lambda p, a: keep(p, {k: v for k, v in a.items() if 'randomised' not in k}))"
        "; h = h * 2",
        top=_FRAMES,
        forward=_OTHER_RESULTS,
    ),
    "changes the weights of others": trap(
        Guard.WEIGHTS_FILE,
        FAILED,
        "raised PermissionError: [Errno 13] a model may write only in the copy of its files",
        "h = h * 1.0",
        "path = find('weights_file'); path and open(path, 'ab').write(b' '); h = h * 2",
        top=_FRAMES,
        forward=_OTHER_RESULTS,
    ),
    # ------------------------------------------------------------------ honest edits
    "honest: a layer": trap(
        None,
        CERTIFIED,
        "legal, and changes the output in evaluation mode",
        "self.first(x)",
        "x",
        forward=_CHAIN,
        cut=LINEAR,
    ),
    "honest: dropout": trap(
        None,
        CERTIFIED,
        "legal, and changes the output in training mode",
        "F.dropout(h, 0.5, self.training)",
        "h",
        forward="h = self.first(x)\nreturn self.last(F.dropout(h, 0.5, self.training))",
    ),
    "honest: a parameter of evaluation": trap(
        None,
        CERTIFIED,
        "legal, and changes the output in evaluation mode",
        "h * self.scale",
        "h",
        init=BOTH + "\nself.scale = nn.Parameter(torch.full((8,), 2.0))",
        forward="h = self.first(x)\nreturn self.last(h if self.training else h * self.scale)",
        cut=("scale",),
    ),
    "honest: a branch that starts at zero": trap(
        None,
        AT_INIT,
        "changes nothing on the weights as given",
        "x + self.gate * self.first(x)",
        "x",
        init=BOTH + "\nself.gate = nn.Parameter(torch.zeros(8))",
        forward="h = x + self.gate * self.first(x)\nreturn self.last(h)",
        cut=(*LINEAR, "gate"),
    ),
    "honest: the skip beside a branch that starts at zero": trap(
        None,
        CERTIFIED,
        "legal, and changes the output in evaluation mode",
        "x + self.gate * self.first(x)",
        "self.gate * self.first(x)",
        init=BOTH + "\nself.gate = nn.Parameter(torch.zeros(8))",
        forward="h = x + self.gate * self.first(x)\nreturn self.last(h)",
    ),
    "honest: an activation in half precision": trap(
        None,
        CERTIFIED,
        "legal, and changes the output in evaluation mode",
        "torch.tanh(h)",
        "h",
        forward="h = self.first(x).half()\nreturn self.last(torch.tanh(h).float())",
    ),
    "honest: a layer under autocast": trap(
        None,
        CERTIFIED,
        "legal, and changes the output in evaluation mode",
        "self.first(x)",
        "x",
        forward="with torch.autocast('cpu', dtype=torch.bfloat16):\n"
        "    h = torch.tanh(self.first(x))\nreturn self.last(h.float())",
        cut=LINEAR,
    ),
    "honest: a bias before a norm": trap(
        None,
        CERTIFIED,
        "legal, and changes the output in evaluation mode",
        "torch.tanh(h)",
        "h",
        init=BOTH + "\nself.norm = nn.LayerNorm(8)",
        forward="h = self.norm(self.first(x) + 3.0)\nreturn self.last(torch.tanh(h))",
    ),
}
