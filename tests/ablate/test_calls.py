"""Any call of a model: every form of inputs and outputs, a step alone, tensors without axes."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from antifragile._records import from_json
from antifragile.ablate.certify import probe
from antifragile.ablate.certify.certificate import ModelError
from antifragile.ablate.certify.measure import measure_baseline, read_results
from antifragile.ablate.certify.measurements import BaselineMeasurement
from antifragile.ablate.frameworks.subject import ModelCode
from antifragile.ablate.frameworks.torch.recorder import TorchRecorder
from antifragile.ablate.pipeline import Ablations, find_components, make_ablations, run_traced
from antifragile.ablate.records import AblationKind, CertificateVerdict, Project
from antifragile.ablate.sandbox.job import Outcome
from antifragile.ablate.sandbox.loading import Refusal
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project
from antifragile.ablate.trace.notes import Phase

NETS = """
from collections import UserDict, namedtuple
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

Pair = namedtuple("Pair", "logits hidden")


@dataclass
class Out:
    logits: torch.Tensor
    loss: torch.Tensor = None


class Plain:
    def __init__(self, logits):
        self.logits = logits


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.out = nn.Embedding(10, 16), nn.Linear(16, 3)

    def forward(self, ids, mask=None, labels=None):
        x = torch.tanh(self.emb(ids))
        if mask is not None:
            x = x * mask.unsqueeze(-1)
        logits = self.out(x.mean(1))
        return Out(logits, F.cross_entropy(logits, labels) if labels is not None else None)


class Keywords(Net):
    def forward(self, *, ids, mask=None):
        return {"logits": super().forward(ids, mask).logits, "hidden": (ids.float(), None)}


class Nested(Net):
    def forward(self, batch):
        batch["a"].add_(1)  # in place: each run must be given a copy of its own
        return super().forward(batch["a"])


class Either(Net):
    def forward(self, ids=None, *, embeds=None):
        if (ids is None) == (embeds is None):
            raise ValueError("give ids or embeds")
        return {"logits": self.out(torch.tanh(embeds))}


class InTraining(Net):
    def forward(self, ids):
        if not self.training:
            raise RuntimeError("in training alone")
        return super().forward(ids)


class Returns(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.fc, self.make = nn.Linear(4, 3), make

    def forward(self, x):
        return self.make(self.fc(x))


IDS, MASK = torch.arange(20).reshape(4, 5) % 7, torch.ones(4, 5)
MASK[:, 3:] = 0.5


def positional():
    return IDS, MASK, torch.tensor([0, 1, 2, 0])


def one():
    return IDS


def keywords():
    return {"ids": IDS, "mask": MASK}


def mapping():
    return UserDict(keywords())


def both():
    return (IDS,), {"mask": MASK}


def nested():
    return ({"a": IDS},)


def refused():
    return (None,)


def x():
    return torch.linspace(-1, 1, 8).reshape(2, 4)


def step(model):
    return model(ids=IDS.clone())["logits"].square().mean()


def step_in_training(model):
    return model(IDS).logits.square().mean()


def step_with_inputs(model, _):
    return model(embeds=torch.linspace(-1, 1, 64).reshape(4, 16))["logits"].square().mean()


def step_of_parts(model):
    return model.out(torch.tanh(model.emb(IDS))).square().mean()
"""
CERTIFIED = (CertificateVerdict.CERTIFIED, CertificateVerdict.INACTIVE_AT_INIT)


def project_of(
    folder: Path, text: str, build: str, inputs: str | None = None, step: str | None = None
) -> Project:
    """A project of one file with these functions."""
    path = folder / "m.py"
    path.write_text(text, encoding="utf-8")
    named = [None if name is None else f"{path}:{name}" for name in (inputs, step)]
    return load_project([path], f"{path}:{build}", *named)


def made(server: Server, project: Project, out: Path) -> Ablations:
    """All variants of a project, certified."""
    return make_ablations(find_components(project, server=server), out, server=server)


def built(folder: Path, name: str, **functions: str) -> Project:
    """A project whose `build` makes one of the models above."""
    return project_of(folder, NETS + f"\n\ndef build():\n    return {name}\n", "build", **functions)


def verdicts(found: Ablations) -> dict[str, CertificateVerdict]:
    """The verdict on each component."""
    return {item.component: item.verdict for item in found.certificates}


def measured(server: Server, project: Project) -> BaselineMeasurement:
    """The measurement of the unchanged model."""
    code = ModelCode.in_folder(project, Path(project.root), "torch")
    results = Path(project.root, "results")
    weights = str(Path(project.root, "weights"))
    job = code.job(
        probe.run_baseline, weights_file=weights, results=str(results), keep_gradients=False
    )
    [(_, outcome)] = server.run([job])
    assert isinstance(outcome, Outcome)
    assert outcome.failure is None, outcome.reason
    return measure_baseline(outcome.value, read_results(results, most_bytes=2**20))


@pytest.mark.parametrize(
    ("net", "inputs", "names"),
    [
        ("Net()", "positional", ("0", "1", "2")),
        ("Net()", "one", ("0",)),
        ("Net()", "both", ("0", "mask")),
        ("Keywords()", "keywords", ("ids", "mask")),
        ("Keywords()", "mapping", ("ids", "mask")),
        ("Nested()", "nested", ("0", "0[a]")),
    ],
)
def test_a_model_is_called_as_its_inputs_say(
    tmp_path: Path, tracing: Server, net: str, inputs: str, names: tuple[str, ...]
) -> None:
    project = built(tmp_path, net, inputs=inputs)
    trace = run_traced(project, server=tracing)
    assert trace.input_names == names
    assert [value is not None for value in trace.inputs] == [
        name != "0" or net == "Net()" for name in names
    ]
    assert trace.modules[0].calls == trace.modules[0].eval_calls == 1
    assert measured(tracing, project).run.without_gradient == []


def test_variants_of_a_model_with_keywords_are_certified(tmp_path: Path, tracing: Server) -> None:
    found = made(tracing, built(tmp_path, "Keywords()", inputs="keywords"), tmp_path / "out")
    parts = {name: verdict for name, verdict in verdicts(found).items() if "input" not in name}
    assert {"Keywords.out", "Net.forward:torch.tanh"} <= set(parts)
    embedding = [item for item in found.certificates if item.component == "Keywords.emb"]
    assert [item.verdict.is_certified for item in embedding] == [False, True]
    assert embedding[0].kind is AblationKind.ZERO  # zeros times any mask are zeros
    assert set(parts.values()) <= set(CERTIFIED)


OUTPUTS = {
    "a tensor": ("lambda y: y", ["(2, 3) float32"]),
    "a dictionary": (
        "lambda y: {'b': (y, None), 'n': 2}",
        ["[b][0] (2, 3) float32", "[n] () int64"],
    ),
    "a data class": ("lambda y: Out(y)", ["[logits] (2, 3) float32", "Out"]),
    "a named tuple": (
        "lambda y: Pair(y, [y])",
        ["[0] (2, 3) float32", "[1][0] (2, 3) float32", "Pair"],
    ),
    "an object": ("lambda y: Plain(y)", ["[logits] (2, 3) float32", "Plain"]),
    "a distribution": (
        "lambda y: torch.distributions.Normal(y, torch.ones(3), validate_args=False)",
        [
            "[_batch_shape][0] () int64",
            "[_batch_shape][1] () int64",
            "[_validate_args] () bool",
            "[loc] (2, 3) float32",
            "[scale] (2, 3) float32",
            "Normal",
            "[_batch_shape] Size",
        ],
    ),
    "a generator": ("lambda y: (row for row in y)", ["[0] (3,) float32", "[1] (3,) float32"]),
    "packed": (
        "lambda y: nn.utils.rnn.pack_sequence([y])",
        ["[0] (2, 3) float32", "[1] (2,) int64", "PackedSequence"],
    ),
    "ragged": (
        "lambda y: torch.nested.as_nested_tensor([y, y[:1]])",
        ["[0] (2, 3) float32", "[1] (1, 3) float32"],
    ),
    "small floats": (
        "lambda y: (y, y.to(torch.float8_e4m3fn))",
        ["[0] (2, 3) float32", "[1] (2, 3) float8_e4m3fn"],
    ),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_every_output_is_read_whole(tmp_path: Path, tracing: Server, case: str) -> None:
    make, lines = OUTPUTS[case]
    found = measured(tracing, built(tmp_path, f"Returns({make})", inputs="x"))
    once = [line[3:].lstrip() for line in found.run.signature if line.startswith("[0]")]
    assert once == lines
    assert found.run.without_gradient == []


def test_an_output_without_tensors_is_refused(tmp_path: Path, tracing: Server) -> None:
    with pytest.raises(ModelError, match="it returned a str, without tensors"):
        run_traced(built(tmp_path, "Returns(str)", inputs="x"), server=tracing)


def test_a_step_alone_runs_the_model(tmp_path: Path, tracing: Server) -> None:
    project = built(tmp_path, "Keywords()", step="step")
    found = made(tracing, project, tmp_path / "out")
    assert set(verdicts(found)) == {
        "Keywords.emb",
        "Keywords.out",
        "Net.forward:torch.tanh",
        "Net.forward:x.mean",
    }
    assert set(verdicts(found).values()) == {CertificateVerdict.CERTIFIED}
    signature = measured(tracing, project).run.signature
    assert "[0][loss] () float32" in signature
    assert "[1][outputs][0][logits] (4, 3) float32" in signature


def test_a_step_may_use_parts_of_the_model(tmp_path: Path, tracing: Server) -> None:
    project = built(tmp_path, "Net()", step="step_of_parts")
    found = made(tracing, project, tmp_path / "out")
    assert verdicts(found)["Net.out"] is CertificateVerdict.CERTIFIED
    assert not [name for name in verdicts(found) if name.startswith("step")]


def test_a_step_may_need_training_mode(tmp_path: Path, tracing: Server) -> None:
    project = built(tmp_path, "InTraining()", step="step_in_training")
    assert run_traced(project, server=tracing).modules[0].calls == 1
    assert {line[:3] for line in measured(tracing, project).run.signature} == {"[1]"}


def test_inputs_that_the_model_refuses_are_left_to_the_step(
    tmp_path: Path, tracing: Server, caplog: pytest.LogCaptureFixture
) -> None:
    project = built(tmp_path, "Either()", inputs="refused", step="step_with_inputs")
    with caplog.at_level(logging.WARNING):
        found = made(tracing, project, tmp_path / "out")
    assert "raised ValueError: give ids or embeds" in caplog.text
    assert "so the step alone runs the model" in caplog.text
    assert verdicts(found)["Either.forward:torch.tanh"] is CertificateVerdict.CERTIFIED


def test_without_a_step_such_inputs_are_refused(tmp_path: Path, tracing: Server) -> None:
    with pytest.raises(ModelError, match="raised ValueError: give ids or embeds"):
        run_traced(built(tmp_path, "Either()", inputs="refused"), server=tracing)


def test_a_project_is_read_with_and_without_inputs(tmp_path: Path) -> None:
    for functions in ({"inputs": "one", "step": "step"}, {"step": "step"}, {"inputs": "one"}):
        project = built(tmp_path, "Net()", **functions)
        assert list(project.entries) == ["build", *functions]
        data = asdict(project) | {"sources": list(project.sources)}
        data |= {"search_paths": list(project.search_paths), "companions": [], "installed": []}
        assert from_json(Project, data) == project


SCALARS = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 3)
        self.temperature = nn.Parameter(torch.tensor(0.5))
        self.shift = nn.Parameter(torch.tensor(0.25, dtype=torch.bfloat16))
        self.complex = nn.Parameter(torch.tensor(1.0 + 0.5j))
        self.register_buffer("scale", torch.tensor(2.0, dtype=torch.float64))
        self.register_buffer("power", torch.tensor(2))
        self.register_buffer("ready", torch.tensor(True))

    def forward(self, x):
        y = self.fc(x) / self.temperature + self.shift + self.complex.real
        return y * self.scale.float() ** self.power * self.ready, self.temperature * 1


def build():
    return Net()


def inputs():
    return torch.linspace(-1, 1, 32).reshape(4, 8)
"""


def test_parameters_and_buffers_without_axes_are_numbers(tmp_path: Path, tracing: Server) -> None:
    found = made(tracing, project_of(tmp_path, SCALARS, "build", "inputs"), tmp_path / "out")
    assert verdicts(found)["Net.fc"] is CertificateVerdict.CERTIFIED
    assert verdicts(found)["Net.temperature"] is CertificateVerdict.CERTIFIED


WITHOUT_GRADIENTS = """
import torch
from torch import nn


class Norm(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(n))
        self.register_buffer("ready", torch.tensor(False))

    def forward(self, x):
        if not self.ready:
            with torch.no_grad():
                self.loc.copy_(-x.t().mean(1))
                self.ready.fill_(True)
        return x + self.loc


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.norm, self.out = nn.Linear(8, 8), Norm(8), nn.Linear(8, 3)

    def forward(self, x):
        with torch.no_grad():
            first = torch.relu(self.fc(x[:2]).view(-1, 2).t()).mean() + x.t()[0].mean()
        with torch.inference_mode():
            second = self.fc.weight.t()[:, :2].sum() + self.fc(x).t().sum() + x[0].sum()
        third = self.fc(x).detach().t().sum() + self.fc.weight.data.view(-1)[:4].sum()
        base = torch.zeros(8)
        view = base[:4].requires_grad_()
        a, b = self.fc(x).chunk(2, 1)
        scale = 1 + 1e-3 * torch.tanh(first + float(second) + third + view.sum())
        return self.out(self.norm(torch.cat([a, b], 1))) * scale


class First(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.out = Norm(8), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.norm(x))


def build():
    return Net()


def build_first():
    return First()


def inputs():
    return (torch.linspace(-1, 1, 32).reshape(4, 8).sin(),)
"""


@pytest.mark.parametrize("build", ["build", "build_first"])
def test_views_without_gradients_are_traced(tmp_path: Path, tracing: Server, build: str) -> None:
    project = project_of(tmp_path, WITHOUT_GRADIENTS, build, "inputs")
    trace = run_traced(project, server=tracing)
    assert trace.remarks == ()
    assert set(trace.gradients.parameters) == set(trace.parameters)


def test_a_failure_of_the_recorder_is_ours_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AssertionError("an oversight")

    recorder = TorchRecorder({})
    monkeypatch.setattr(recorder, "value", fails)
    x = torch.ones(2)
    with recorder.forward(Phase.TRAIN, "training"):
        assert recorder.on_call(("m.py", 0), torch.relu, x).equal(x)
        assert recorder.on_binary(("m.py", 1), "+", x, x).equal(x + x)
    assert len(recorder.remarks) == 2
    assert all("a failure of antifragile" in remark for remark in recorder.remarks)


def test_errors_of_the_model_stay_its_own() -> None:
    recorder = TorchRecorder({})
    with (
        pytest.raises(Refusal, match="raised RuntimeError: The size of tensor a"),
        recorder.forward(Phase.TRAIN, "training"),
    ):
        recorder.on_binary(("m.py", 0), "+", torch.ones(2), torch.ones(3))
    assert recorder.remarks == {}
    assert recorder.phase is Phase.OTHER
