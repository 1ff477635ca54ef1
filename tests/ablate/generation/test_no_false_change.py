"""A model against itself never counts as changed, whatever the idiom it is written in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from antifragile.ablate.certify.certificate import certify, open_server
from antifragile.ablate.records import AblationKind, CertificateVerdict, Variant
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project

MODELS = Path(__file__).parents[1] / "models"
NAMES = sorted(path.name for path in MODELS.glob("*.py"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with open_server() as running:
        yield running


@pytest.mark.parametrize("name", NAMES)
def test_a_model_against_itself_is_unchanged(server: Server, tmp_path: Path, name: str) -> None:
    project = load_project([MODELS / name], f"{name}:build", f"{name}:inputs")
    for folder in ("baseline", "itself"):
        for file in {*project.sources, *project.companions}:
            place = tmp_path / folder / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(project.root) / file, place)
    itself = Variant(component="all", kind=AblationKind.IDENTITY, folder="itself")
    [certificate] = certify(project, tmp_path, [itself], server=server, cold_imports=0)
    assert certificate.reason.partition(" in one call")[0] == "it changes nothing"
    assert certificate.verdict is CertificateVerdict.REFUSED
    assert certificate.checks["repeat"] == "bit-identical"
