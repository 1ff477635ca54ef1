"""Certificates hold for the files they were made for, and an index leads to no other place."""

from __future__ import annotations

import json
import os
import py_compile
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from antifragile.ablate.designs.registry import DesignName
from antifragile.ablate.generation.digests import digests_of
from antifragile.ablate.generation.index import is_inside
from antifragile.ablate.generation.replace import check_is_ours
from antifragile.ablate.records import AblationKind, Certificate, CertificateVerdict
from antifragile.ablate.sandbox.loading import Refusal
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project
from antifragile.ablate.study.child.run import RunArguments, run_job
from antifragile.ablate.study.folder import choose_arms, read_ablation_folder
from antifragile.ablate.study.running.combinations import Combinations
from antifragile.ablate.study.server import open_study_copies
from antifragile.errors import StoreError, UsageError
from tests.ablate.study.small_study import make_folder, recertify, write, written
from tests.cli.commands import contents

NAME = "model-gate--identity"
AGAIN = (
    "bring the files back as they were, or give the folder another name and run 'antifragile "
    "ablate generate' again"
)
Index = dict[str, Any]


@pytest.fixture
def variants(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


def said_of(variants: Path) -> str:
    """The sentence with which a folder is refused, which is one line."""
    with pytest.raises(UsageError) as caught:
        read_ablation_folder(variants)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    return str(caught.value)


def change_index(variants: Path, change: Callable[[Index], object]) -> None:
    index = variants / "ablations.json"
    plain = json.loads(index.read_text())
    change(plain)
    index.write_text(json.dumps(plain))


def test_files_as_they_were_certified_may_run(variants: Path) -> None:
    folder = read_ablation_folder(variants)
    assert set(folder.digests) == {"baseline", *(arm.name for arm in folder.arms)}
    for note in ("note.txt", "__pycache__/model.cpython-311.pyc"):
        (variants / NAME / note).parent.mkdir(exist_ok=True)
        (variants / NAME / note).write_text("read by no one")
    assert read_ablation_folder(variants).digests == folder.digests


def edit(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\n")


def add(file: Path) -> None:
    file.with_name("torch.py").write_text("")


def link(file: Path) -> None:
    file.rename(file.parents[1] / "elsewhere.py")
    file.symlink_to(file.parents[1] / "elsewhere.py")


def link_package(file: Path) -> None:
    (file.parent / "torch").symlink_to(file.parents[1] / "baseline")


def link_folder(file: Path) -> None:
    file.parent.rename(file.parents[1] / "elsewhere")
    file.parent.symlink_to(file.parents[1] / "elsewhere")


@pytest.mark.parametrize("place", [NAME, "baseline"])
@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (edit, "model.py was changed after it was certified"),
        (Path.unlink, "model.py is missing"),
        (add, "torch.py was added after it was certified"),
        (link, "model.py is a link"),
        (link_package, "torch is a link"),
        (link_folder, "the folder is a link"),
    ],
)
def test_another_file_is_refused_before_anything_runs(
    variants: Path, place: str, change: Callable[[Path], object], clause: str
) -> None:
    change(variants / place / "model.py")
    assert said_of(variants) == f"{variants / place}: {clause}; {AGAIN}."


@pytest.mark.parametrize("change", [edit, Path.unlink, add, link_folder])
def test_only_the_arms_that_are_chosen_have_to_be_unchanged(
    variants: Path, change: Callable[[Path], object]
) -> None:
    change(variants / NAME / "model.py")
    folder = read_ablation_folder(variants, allows_changed=True)
    others = [arm.name for arm in folder.arms if arm.name != NAME]
    assert choose_arms(folder, DesignName.LEAVE_ONE_OUT, others, []) == others
    for only in ([NAME], []):
        with pytest.raises(StoreError) as caught:
            choose_arms(folder, DesignName.LEAVE_ONE_OUT, only, [])
        assert str(caught.value) == said_of(variants)


def test_the_baseline_has_to_be_unchanged_whatever_is_chosen(variants: Path) -> None:
    edit(variants / "baseline" / "model.py")
    with pytest.raises(StoreError, match=r"baseline: model\.py was changed"):
        read_ablation_folder(variants, allows_changed=True)


def test_a_file_that_changes_during_a_study_is_refused_by_its_run(variants: Path) -> None:
    folder = read_ablation_folder(variants)
    place = variants / NAME
    arguments = RunArguments(
        project=asdict(folder.project),
        framework="torch",
        folder=str(place),
        baseline=[str(variants / "baseline")],
        experiment={},
        seeds={},
        scratch="",
        certified=folder.digests[NAME],
    )
    (place / "model.py").write_text("raise SystemExit('imported')\n")
    with pytest.raises(Refusal, match=r"model\.py was changed after it was certified; bring the"):
        run_job(asdict(arguments))


def test_certificates_that_name_no_files_prove_nothing(variants: Path) -> None:
    def forget(plain: Index) -> None:
        for certificate in plain["certificates"]:
            del certificate["files"], certificate["baseline_files"]

    change_index(variants, forget)
    assert f"does not name the files it was made for, so it proves nothing about them; {AGAIN}" in (
        said_of(variants)
    )


def test_a_certificate_of_another_baseline_is_refused(variants: Path) -> None:
    change_index(
        variants, lambda plain: plain["certificates"][1]["baseline_files"].update({"model.py": "0"})
    )
    assert "does not name the files it was made for" in said_of(variants)


def swap_names(variants: Path) -> None:
    def change(plain: Index) -> None:
        for table in ("variants", "certificates"):
            one, two = plain[table][2], plain[table][3]
            one["component"], two["component"] = two["component"], one["component"]

    change_index(variants, change)
    for name, other in ((NAME, "model-tanh"), ("model-tanh--identity", "model-gate")):
        path = variants / name / "certificate.json"
        write(path, json.dumps(json.loads(path.read_text()) | {"component": other}))


def fail(variants: Path) -> None:
    path = variants / NAME / "certificate.json"
    write(path, json.dumps(json.loads(path.read_text()) | {"verdict": "failed"}))


def forge(variants: Path) -> None:
    edit(variants / NAME / "model.py")
    new = digests_of(variants / NAME)
    change_index(variants, lambda plain: plain["certificates"][2].update(files=new))


def build_other(variants: Path) -> None:
    change_index(variants, lambda plain: plain["project"]["build"].update(function="other"))


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (swap_names, "variant.toml says component = 'model-gate', ablations.json 'model-tanh'"),
        (fail, "certificate.json and the certificate in ablations.json differ"),
        (forge, "certificate.json and the certificate in ablations.json differ"),
        (
            build_other,
            "variant.toml says build = 'model.py:build', ablations.json 'model.py:other'",
        ),
    ],
)
def test_a_variant_and_the_index_say_the_same(
    variants: Path, change: Callable[[Path], object], clause: str
) -> None:
    change(variants)
    said = said_of(variants)
    assert said.startswith(str(variants / "model-"))
    assert said.endswith(f": {clause}; {AGAIN}.")


@pytest.mark.parametrize(
    "folder",
    [
        *("../evil", "/tmp", "", ".", "..", "baseline", "Combinations", "a/b", "a\0b"),
        *("model-extra--identity", "MODEL-extra--identity"),
    ],
)
def test_a_folder_outside_the_set_or_taken_is_refused(variants: Path, folder: str) -> None:
    place = 2  # a certified variant behind model-extra--identity
    change_index(variants, lambda plain: plain["variants"][place].update(folder=folder))
    said = said_of(variants)
    assert "ablations.json is damaged" in said
    reasons = ("no name of a folder beside the index", "is taken by another row", "null characters")
    assert any(reason in said for reason in reasons)


@pytest.mark.parametrize("part", ["sources", "search_paths", "companions"])
@pytest.mark.parametrize("path", ["../evil.py", "/evil.py", "", "a/../../evil.py"])
def test_a_project_that_leads_outside_is_refused(variants: Path, part: str, path: str) -> None:
    change_index(variants, lambda plain: plain["project"][part].append(path))
    assert "is no path inside a variant's folder" in said_of(variants)


@pytest.mark.parametrize("path", ["model.py", ".", "a/b.py", "a/./b.py", "größe.py", "a b.py"])
def test_a_path_inside_is_one(path: str) -> None:
    assert is_inside(path)


def test_a_link_in_place_of_the_combinations_is_refused(variants: Path, tmp_path: Path) -> None:
    (variants / "combinations").symlink_to(tmp_path)
    assert said_of(variants).endswith("combinations is a link; remove it and run again.")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[]", "3", "null", '"text"', "[" * 100_000, '{"a":' * 100_000, "\0", "NaN"),
        *('{"project": 1}', "1" * 5000, '{"project": {}, "variants": [], "certificates": []}'),
        "\ud800",
    ],
)
def test_an_index_of_another_shape_is_one_sentence(variants: Path, text: str) -> None:
    (variants / "ablations.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert "ablations.json is damaged or not finished (" in said_of(variants)


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("variants", {"component": 3}),
        ("variants", {"kind": "sideways"}),
        ("variants", {"kind": ["identity"]}),
        ("variants", {"edits": [{"file": "model.py", "start": 1}]}),
        ("variants", {"edits": [{"file": "model.py", "start": -1, "end": 0, "text": ""}]}),
        ("variants", {"edits": [{"file": "other.py", "start": 0, "end": 0, "text": ""}]}),
        ("variants", {"edits": [{"file": "model.py", "start": 0, "end": 9, "text": ""}] * 2}),
        ("variants", {"options": {"head": 3}}),
        ("variants", {"cut_parameters": None}),
        ("certificates", {"verdict": "certainly"}),
        ("certificates", {"seconds": float("nan")}),
        ("certificates", {"seconds": float("inf")}),
        ("certificates", {"seconds": "3"}),
        ("certificates", {"parameter_delta": 1.5}),
        ("certificates", {"files": ["model.py"]}),
        ("certificates", {"files": {"model.py": 7}}),
        ("certificates", {"checks": [[]]}),
        ("certificates", {"component": "another"}),
    ],
)
def test_a_wrong_value_is_one_sentence(
    variants: Path, table: str, values: Mapping[str, object]
) -> None:
    change_index(variants, lambda plain: plain[table][0].update(values))
    assert "ablations.json is damaged or not finished (" in said_of(variants)


def test_a_row_without_its_certificate_is_one_sentence(variants: Path) -> None:
    change_index(variants, lambda plain: plain["certificates"].pop())
    assert "ablations.json is damaged or not finished (" in said_of(variants)


def test_a_folder_that_was_generated_again_may_run(variants: Path) -> None:
    edit(variants / NAME / "model.py")
    with pytest.raises(StoreError):
        read_ablation_folder(variants)
    recertify(variants)
    assert read_ablation_folder(variants).arm(NAME)


PAIR = ("model-gate--identity", "model-tanh--identity")


def judged(variants: Path) -> Combinations:
    """The verdict on a pair that has a certificate; nothing is certified here."""

    def nobody() -> Server:
        raise AssertionError("it is certified already")

    folder = read_ablation_folder(variants)
    with open_study_copies(folder) as copies:
        combined = Combinations(folder, copies, nobody)
        combined.judge([frozenset(PAIR)], print)
    return combined


@pytest.fixture
def pair(variants: Path) -> Path:
    """The folder of a certified combination."""
    folder = read_ablation_folder(variants)
    place = written(folder, PAIR)
    certificate = Certificate(
        component=" + ".join(PAIR),
        kind=AblationKind.IDENTITY,
        verdict=CertificateVerdict.CERTIFIED,
        reason="legal",
        files=digests_of(place),
        baseline_files=digests_of(variants / "baseline"),
    )
    (place / "certificate.json").write_text(json.dumps(asdict(certificate)))
    return place


def test_a_combination_is_tied_to_its_files_too(variants: Path, pair: Path) -> None:
    combined = judged(variants)
    assert combined.certified(frozenset(PAIR)) == digests_of(pair)
    assert combined.certified(frozenset()) == digests_of(variants / "baseline")
    edit(pair / "model.py")
    with pytest.raises(StoreError, match=r"model\.py was changed after it was certified; remove"):
        judged(variants)


def test_a_combination_of_another_baseline_is_refused(variants: Path, pair: Path) -> None:
    (variants / "baseline" / "more.txt").write_text("data")
    recertify(variants)
    with pytest.raises(StoreError, match="it was certified with another baseline; remove"):
        judged(variants)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "{}", '{"verdict": 3}', "NaN"])
def test_a_damaged_certificate_of_a_combination_is_one_sentence(
    variants: Path, pair: Path, text: str
) -> None:
    (pair / "certificate.json").write_text(text)
    with pytest.raises(StoreError, match=r"certificate\.json is damaged .* remove it and run"):
        judged(variants)


def test_a_killed_combination_is_written_anew(variants: Path, pair: Path) -> None:
    (pair / "certificate.json").unlink()
    (pair / "change.diff").unlink()
    (pair / ".model.py.0123456789abcdef.tmp").write_text("half")
    with pytest.raises(AssertionError, match="certified already"):
        judged(variants)
    assert not pair.exists()  # what was made anew had no certificate either
    assert sorted(path.name for path in (variants / ".ablations").iterdir()) == ["run.lock"]


@pytest.mark.parametrize("change", [edit, add])
def test_a_combination_without_a_certificate_in_which_somebody_worked_is_refused_by_name(
    variants: Path, pair: Path, change: Callable[[Path], object]
) -> None:
    (pair / "certificate.json").unlink()
    change(pair / "model.py")
    before = contents(variants / "combinations")
    with pytest.raises(StoreError, match=rf"{pair}/(torch|model)\.py is not part of that"):
        judged(variants)
    assert contents(variants / "combinations") == before


IMPORTS = """\
import json, sys
from pathlib import Path
from antifragile._records import from_json
from antifragile.ablate.records import Project
from antifragile.ablate.source.project import enter_project, entry_function
project = from_json(Project, json.loads(sys.argv[1]))
enter_project(project, Path(sys.argv[2]))
print(entry_function(project, project.build)())
"""


def test_a_compiled_copy_of_other_code_is_not_run(tmp_path: Path) -> None:
    model = tmp_path / "model.py"
    texts = [f"def build():\n    return {n}\n\n\ndef inputs(): ...\n" for n in (1, 2)]
    model.write_text(texts[0])
    os.utime(model, (1e9, 1e9))
    project = load_project([model], f"{model}:build", f"{model}:inputs")
    py_compile.compile(str(model))
    model.write_text(texts[1])
    os.utime(model, (1e9, 1e9))  # as old and as long as what was compiled
    command = [sys.executable, "-c", IMPORTS, json.dumps(asdict(project)), str(tmp_path)]
    assert subprocess.check_output(command, text=True) == "2\n"
    plain = [sys.executable, "-c", "import model; print(model.build())"]
    assert subprocess.check_output(plain, text=True, cwd=tmp_path) == "1\n"


def test_a_pipe_in_place_of_a_file_is_no_regular_file(tmp_path: Path) -> None:
    out = make_folder(tmp_path)
    file = out / "model-gate--identity" / "model.py"
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(StoreError, match=r"model\.py is no regular file; bring the files back"):
        read_ablation_folder(out)


def test_the_advice_on_an_edited_variant_works(tmp_path: Path) -> None:
    out = make_folder(tmp_path)
    edited = out / "model-gate--identity"
    (edited / "model.py").write_text("mine")
    with pytest.raises(UsageError):
        check_is_ours(out)
    edited.rename(out / "mine")
    check_is_ours(out)
    assert (out / "mine" / "model.py").read_text() == "mine"
