"""A folder of variants as `ablate generate` leaves it, made by replacing text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from antifragile.ablate.frameworks.torch.framework import TORCH
from antifragile.ablate.generation.digests import digests_of
from antifragile.ablate.generation.emit import files_of, variant_toml
from antifragile.ablate.records import AblationKind, Certificate, CertificateVerdict, Variant
from antifragile.ablate.sandbox.copies import data_hashes
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.edits import smallest_edits
from antifragile.ablate.source.project import load_project
from antifragile.ablate.study.experiment import Experiment
from antifragile.ablate.study.folder import AblationFolder, read_ablation_folder
from antifragile.ablate.study.request import AblationRequest
from antifragile.ablate.study.server import StudyProcesses, training_modules
from antifragile.ablate.study.study import AblationOutcome, run_ablation
from antifragile.store.ablation import AblationStore

Study = Callable[..., AblationOutcome]
GATE = "model-gate--identity"

MODEL = """\
import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.extra = nn.Linear(4, 4)
        self.first = nn.Linear(4, 8)
        self.gate = nn.Linear(4, 8)
        self.last = nn.Linear(8, 2)
        nn.init.constant_(self.last.bias, 0.5)

    def forward(self, x):
        x = x + self.extra(x)
        h = torch.tanh(self.first(x)) * torch.sigmoid(self.gate(x))
        return self.last(h)


def build():
    return Model()


def inputs():
    return (torch.randn(3, 4),)
"""

EXPERIMENT = """\
import torch
from torch.nn.functional import cross_entropy


def data(seed, n):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=generator)
    return x, (x[:, 0] * x[:, 1] > 0).long()


def run(build_model, seed, data_order_seed):
    model = build_model()
    x, y = data(seed, 96)
    order = torch.Generator().manual_seed(data_order_seed)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(6):
        for part in torch.randperm(96, generator=order).split(32):
            optimizer.zero_grad()
            cross_entropy(model(x[part]), y[part]).backward()
            optimizer.step()
    return evaluate(model, seed, data_order_seed)


def evaluate(model, seed, data_order_seed):
    x, y = data(seed + 1000, 64)
    with torch.no_grad():
        logits = model(x)
    correct = (logits.argmax(1) == y).double().mean()
    return {"accuracy": 100 * correct, "loss": cross_entropy(logits, y)}
"""

CUTS = {
    "model-extra--identity": ("self.extra = nn.Linear(4, 4)", "self.extra = nn.Identity()"),
    "model-extra--remove-branch": ("x = x + self.extra(x)", "x = x"),
    "model-gate--identity": (" * torch.sigmoid(self.gate(x))", ""),
    "model-tanh--identity": ("torch.tanh(self.first(x))", "self.first(x)"),
    "model-extra--remove-skip": ("x = x + self.extra(x)", "x = self.extra(x)"),
}
CUT_PARAMETERS = {
    "model-extra--identity": ("extra.weight", "extra.bias"),
    "model-extra--remove-branch": ("extra.weight", "extra.bias"),
    "model-gate--identity": ("gate.weight", "gate.bias"),
}
DETACHED = ("model-extra--remove-branch", "model-gate--identity")  # parameters stay, unused
PARAMETER_DELTA = {"model-extra--identity": -20}


def make_folder(
    place: Path, *, model: str = MODEL, cuts: dict[str, tuple[str, str]] = CUTS
) -> Path:
    """Write a source folder, a folder of certified variants beside it, and return the latter."""
    source, out = place / "source", place / "variants"
    write(source / "model.py", model)
    write(source / "experiment.py", EXPERIMENT)
    entries = [f"{source / 'model.py'}:{name}" for name in ("build", "inputs")]
    project = load_project([source / "model.py"], *entries)
    write(out / "baseline" / "model.py", model)
    variants, certificates = [], []
    for name, (old, new) in cuts.items():
        assert old in model
        write(out / name / "model.py", model.replace(old, new))
        write(out / name / "change.diff", f"-{old}\n+{new}\n")
        component, kind = name.split("--")
        variant, certificate = certified(component, AblationKind(kind), name)
        edits = smallest_edits(model, model.replace(old, new), file="model.py")
        variant = replace(variant, edits=tuple(edits))
        certificate = replace(
            certificate,
            files=digests_of(out / name),
            baseline_files=digests_of(out / "baseline"),
        )
        write(out / name / "certificate.json", json.dumps(asdict(certificate)))
        write(out / name / "variant.toml", variant_toml(project, {}, variant))
        variants.append(variant)
        certificates.append(certificate)
    refused = Variant(component="model-last", kind=AblationKind.ZERO, folder="", refusal="no")
    no = Certificate(
        component="model-last",
        kind=AblationKind.ZERO,
        verdict=CertificateVerdict.REFUSED,
        reason="no edit",
    )
    index = {
        "data": data_hashes(source, files_of(project)),
        "project": asdict(project),
        "components": [],
        "variants": [asdict(item) for item in [*variants, refused]],
        "certificates": [asdict(item) for item in [*certificates, no]],
    }
    write(out / "ablations.json", json.dumps(index))
    return out


def written(folder: AblationFolder, arms: Sequence[str]) -> Path:
    """Put a combination without a certificate where a certified one belongs."""
    place = folder.place(arms)
    for file, content in folder.combination(arms).items():
        write(place / file, content.decode())
    return place


@contextmanager
def open_study(certifier: Server | None = None) -> Iterator[Study]:
    """Run studies of one seed and one cut, where nothing else is said, in one server."""
    with Server(workers=2, preload=training_modules(TORCH)) as server:
        processes = StudyProcesses(server=server, certifier=certifier)

        def run(place: Path, experiment: Path, **changes: Any) -> AblationOutcome:
            folder = read_ablation_folder(place / "variants")
            chosen: dict[str, Any] = {
                "name": "made",
                "experiment": Experiment.from_file(f"{experiment}:run"),
                "arms": [GATE],
                "seeds": (1,),
            }
            with AblationStore(str(place / "study.db")) as store:
                request = AblationRequest(**(chosen | changes))
                return run_ablation(request, folder, store, processes=processes)

        yield run


def recertify(out: Path) -> None:
    """Tie the certificates of a folder to its files as they are now."""
    index = json.loads((out / "ablations.json").read_text())
    for variant, certificate in zip(index["variants"], index["certificates"], strict=True):
        if variant["folder"]:
            certificate["files"] = digests_of(out / variant["folder"])
            certificate["baseline_files"] = digests_of(out / "baseline")
            write(out / variant["folder"] / "certificate.json", json.dumps(certificate))
    write(out / "ablations.json", json.dumps(index))


def certified(component: str, kind: AblationKind, folder: str) -> tuple[Variant, Certificate]:
    """A variant and its certificate; removing the skip is said to be inactive at first."""
    is_inactive = kind is AblationKind.REMOVE_SKIP
    verdict = CertificateVerdict.INACTIVE_AT_INIT if is_inactive else CertificateVerdict.CERTIFIED
    variant = Variant(
        component=component,
        kind=kind,
        folder=folder,
        edited=("model.py",),
        diff_lines=2,
        cut_parameters=CUT_PARAMETERS.get(folder, ()),
        parameter_delta=PARAMETER_DELTA.get(folder, 0),
    )
    return variant, Certificate(
        component=component,
        kind=kind,
        verdict=verdict,
        reason="legal",
        parameter_delta=variant.parameter_delta,
        without_gradient=variant.cut_parameters if folder in DETACHED else (),
    )


def write(path: Path, text: str) -> None:
    """Write a text and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
