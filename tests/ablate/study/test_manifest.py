"""The manifest of an ablation study: JSON in and out unchanged, one sentence for a damaged one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antifragile.ablate.designs.registry import DesignName
from antifragile.ablate.study.manifest import AblationManifest, manifest_from
from antifragile.ablate.study.manifest_files import load_manifest, manifest_file, write_manifest
from antifragile.ablate.study.repeat import read_manifest
from antifragile.ablate.study.request import Role, TrainingProtocol
from antifragile.errors import UsageError

COMMITTED = Path(__file__).resolve().parents[3] / "studies/ablation/transformer-manifest.json"


@pytest.fixture
def plain() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(COMMITTED.read_text(encoding="utf-8"))
    return data


def read(plain: object) -> AblationManifest:
    return manifest_from(plain, "note.json")


def test_the_committed_manifest_is_read_and_written_unchanged(plain: dict[str, Any]) -> None:
    manifest = load_manifest(COMMITTED)
    assert manifest.to_json() == plain
    assert manifest.design is DesignName.LEAVE_ONE_OUT
    assert manifest.protocols == tuple(TrainingProtocol)
    assert {run.role for run in manifest.runs} == set(Role)
    assert (manifest.file, manifest.framework, manifest.combinations) == (None, None, None)


def test_keys_of_newer_manifests_are_read_and_written_unchanged(plain: dict[str, Any]) -> None:
    pair = {"ablated": ["a", "b"], "folder": "", "verdict": "refused", "reason": "they clash"}
    plain |= {"file": "manifest.json", "framework": "torch", "combinations": [pair]}
    plain["experiment"] = {"file": "experiment.py:run", "sha256": "0" * 64}
    plain["arms"][0] |= {"detached": [], "parameter_delta": -20}
    plain["left_out"] = [["head--identity", "refused: the shape would change"]]
    assert read(plain).to_json() == plain


def test_a_failed_run_keeps_its_reason_and_a_stored_one_has_no_outcome(
    plain: dict[str, Any],
) -> None:
    plain["runs"] = plain["runs"][:2]
    plain["runs"][0] |= {"metrics": None, "failure": "did not end within 5 s"}
    for key in ("metrics", "failure", "seconds"):
        del plain["runs"][1][key]
    failed, stored = read(plain).runs
    assert (failed.metrics, failed.failure) == (None, "did not end within 5 s")
    assert (stored.metrics, stored.failure, stored.seconds) == (None, None, None)
    assert read(plain).to_json() == plain


Damage = Callable[[dict[str, Any]], object]
DAMAGED: dict[str, Damage] = {
    "not an object": lambda plain: [plain],
    "a key is missing": lambda plain: plain.pop("experiment"),
    "a key of a run is missing": lambda plain: plain["runs"][0].pop("key"),
    "an unknown design": lambda plain: plain.update(design="by heart"),
    "an unknown role": lambda plain: plain["runs"][0].update(role="spare"),
    "text for a number": lambda plain: plain.update(seeds=["one"]),
    "a number for yes or no": lambda plain: plain.update(higher_is_better=1),
    "yes for a number": lambda plain: plain["runs"][0].update(seed=True),
    "a list for an object": lambda plain: plain.update(versions=[]),
    "an object for a list": lambda plain: plain.update(arms={}),
    "a pair of three": lambda plain: plain.update(left_out=[["a", "b", "c"]]),
    "no looks": lambda plain: plain["judgement"].update(looks=0),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_manifest_is_one_sentence(plain: dict[str, Any], damage: str) -> None:
    changed = DAMAGED[damage](plain)
    given = changed if damage == "not an object" else plain
    with pytest.raises(
        UsageError, match=r"^note\.json is not the manifest of an ablation study: .*; give one as "
    ):
        read(given)


def test_studies_have_files_of_their_own() -> None:
    assert manifest_file("ablation") == "manifest.json"
    assert manifest_file("plain_name-1.2") == "manifest-plain_name-1.2.json"
    alike = ["two words", "two-words", "Two-Words", "two--words", "two.words", "two words."]
    alike += ["α", "β", "日本", "", "-", "study", "a" * 300, "a" * 299, "Ablation", "a-1a2b3c"]
    names = [manifest_file(name) for name in alike]
    assert len({name.casefold() for name in names}) == len(alike)
    assert all(name.isascii() and len(name) < 120 for name in names)


def test_a_manifest_of_an_older_name_is_found_by_its_study(
    tmp_path: Path, plain: dict[str, Any]
) -> None:
    """Once "two words" and "two-words" shared a file."""
    file = tmp_path / "manifest-two-words.json"
    file.write_text(json.dumps(plain | {"name": "two words"}))
    found, _ = read_manifest(str(tmp_path), "two words")
    assert found.name == "two words"
    with pytest.raises(UsageError, match=r"holds manifest-two-words\.json; choose one"):
        read_manifest(str(tmp_path), "two  words")


def test_an_edited_manifest_is_refused(tmp_path: Path, plain: dict[str, Any]) -> None:
    path = write_manifest(read(plain), tmp_path)
    written = json.loads(path.read_text())
    path.write_text(json.dumps(written))  # laid out in another way
    assert load_manifest(path) == read(plain)
    run = next(run for run in written["runs"] if run["metrics"])
    name = next(iter(run["metrics"]))
    run["metrics"][name] += 1e-9
    path.write_text(json.dumps(written))
    with pytest.raises(UsageError, match="changed after it was written") as caught:
        load_manifest(path)
    assert str(path) in str(caught.value)
    assert "'ablate run' without --manifest writes it again from the store" in str(caught.value)
