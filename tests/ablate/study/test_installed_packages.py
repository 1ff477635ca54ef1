"""Variants of an installed package hold the files that may be edited, and run with the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.pipeline import find_components, make_ablations
from antifragile.ablate.records import AblationKind
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project
from antifragile.errors import StoreError
from tests.ablate.study.small_study import EXPERIMENT, MODEL, open_study, write

MODULE, FUNCTIONS = MODEL.split("def build():")
PACKAGE = MODULE.replace("torch.tanh(", "squash(").replace(
    "import torch\n", "import torch\n\nfrom .parts import squash\n", 1
)
ENTRY = f"import torch\nfrom net.model import Model\n\n\ndef build():{FUNCTIONS}"
PARTS = "import torch\n\n\ndef squash(x):\n    return torch.tanh(x)\n"
ARM = "model-extra--identity"


def test_they_train_beside_the_package_as_it_was_certified(tmp_path: Path, tracing: Server) -> None:
    net = tmp_path / "lib" / "site-packages" / "net"
    files = {net / "__init__.py": "", net / "model.py": PACKAGE, net / "parts.py": PARTS}
    entry, experiment = tmp_path / "source" / "entry.py", tmp_path / "source" / "experiment.py"
    for path, text in {**files, entry: ENTRY, experiment: EXPERIMENT}.items():
        write(path, text)
    project = load_project([net / "model.py"], f"{entry}:build", f"{entry}:inputs")
    plan = find_components(project, server=tracing)
    out = tmp_path / "variants"
    made = make_ablations(plan, out, server=tracing, kinds=[AblationKind.IDENTITY])

    verdicts = {c.component: c.verdict.is_certified for c in made.certificates}
    assert verdicts["Model.extra"]
    for folder in ("baseline", ARM):
        held = {path.name for path in (out / folder).rglob("*.py")}
        assert held == {"model.py", "entry.py"}

    with open_study(certifier=tracing) as study:
        first = study(tmp_path, experiment, arms=[ARM])
        assert (first.n_run, first.n_failed) == (4, 0)
        metrics = {run.ablated: run.metrics for run in first.manifest.runs if run.role == "run"}
        assert metrics[()] != metrics[(ARM,)]

        (net / "parts.py").write_text(PARTS.replace("torch.tanh(x)", "torch.relu(x)"))
        with pytest.raises(StoreError, match=r"parts\.py, of an installed package that the model"):
            study(tmp_path, experiment, arms=[ARM])

        (net / "parts.py").write_text(PARTS)
        assert study(tmp_path, experiment, arms=[ARM]).n_run == 0
        entry.write_text(ENTRY + "# later\n")  # the variants' own files do
        assert study(tmp_path, experiment, arms=[ARM]).n_run == 0
