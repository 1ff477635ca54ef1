"""``antifragile ablate run`` and ``report``: a whole study, its repeat, a sentence each wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from antifragile.ablate.study.manifest_files import manifest_file
from tests.ablate.study.small_study import make_folder, recertify, write
from tests.cli.commands import Said
from tests.cli.conftest import Cli

SLIP = ("--metric", "csv:{out}/log.csv:mae@mn")
RUN = ("--experiment", "source/experiment.py:run", "--seeds", "2", "--only", "model-gate")


@pytest.fixture
def variants(home: Path) -> Path:
    return make_folder(home)


def test_a_study_from_run_to_page_and_back(cli: Cli, home: Path, variants: Path) -> None:
    said = cli("ablate", "run", "variants", *RUN, "--protocol", "both", "--margin", "5")
    assert said.code == 0
    assert "baseline run twice under 2 seeds: identical" in said.out
    assert "12 runs, 0 found in the store" in said.out  # 2 x (2 + 2), two repeats, two placebos
    again = cli("ablate", "run", "variants", *RUN, "--protocol", "both", "--margin", "5", "--json")
    assert again.code == 0
    assert (
        json.loads(again.out)["runs"]
        == json.loads((variants / "manifest.json").read_text())["runs"]
    )

    page = cli("ablate", "report", "variants", "--format", "html", "--out", "pages")
    assert page.code == 0
    assert "model-gate" in (home / "pages" / "ablation.html").read_text()
    from_store = cli("ablate", "report", "variants/ablation.db", "--format", "markdown")
    from_folder = cli("ablate", "report", "variants", "--format", "markdown")
    assert from_store.out == from_folder.out
    assert "| model-gate | identity | 2 |" in from_store.out
    assert r"\begin{longtable}" in cli("ablate", "report", "variants", "--format", "latex").out

    words = ("--manifest", "variants/manifest.json", "--store", "again.db")
    repeated = cli("ablate", "run", "variants", *words)
    assert "12 of 12 runs give the manifest's numbers exactly." in repeated.out

    changed = variants / "model-gate--identity" / "model.py"
    changed.write_text(changed.read_text() + "\n# another\n")
    refused = cli("ablate", "run", "variants", *words)
    assert refused.code == 2
    assert "model-gate--identity: model.py was changed after it was certified" in refused.err
    recertify(variants)
    refused = cli("ablate", "run", "variants", *words)
    assert refused.code == 2
    assert "differ from those of the manifest: model-gate--identity" in refused.err


def test_a_report_says_that_the_folder_holds_other_variants(
    cli: Cli, home: Path, variants: Path
) -> None:
    cli("ablate", "run", "variants", *RUN, "--seeds", "1")
    formats = ("rich", "markdown", "latex", "html")

    def reports() -> list[str]:
        said = {f: cli("ablate", "report", "variants", "--format", f) for f in formats}
        assert all(report.code == 0 for report in said.values()), said
        page = (variants / "ablation.html").read_text()
        return [" ".join(text.split()) for text in (*(r.out for r in said.values()), page)]

    assert not any("no longer holds" in text for text in reports())
    changed = variants / "model-gate--identity" / "model.py"
    changed.write_text(changed.read_text() + "\n# another\n")
    recertify(variants)
    rich, markdown, latex, _, page = reports()
    for text in (rich, markdown, latex, page):
        assert "variants no longer holds what was run: model-gate--identity changed since" in text
        assert "in the folder of its name" not in text
    assert "torch.sigmoid(self.gate(x))" not in page  # the change of another variant

    moved = variants.rename(home / "moved")
    (moved / "model-gate--identity" / "model.py").unlink()
    said = " ".join(cli("ablate", "report", "moved", "--format", "markdown").out.split())
    assert "moved cannot be used as it is: moved/model-gate--identity: model.py is missing" in said
    assert "variants no longer" not in said


@pytest.mark.slow
def test_studies_of_one_folder_keep_manifests_of_their_own(
    cli: Cli, home: Path, variants: Path
) -> None:
    for name in ("one", "two words"):
        said = cli("ablate", "run", "variants", *RUN, "--name", name)
        assert said.code == 0
    other = manifest_file("two words")
    assert other in said.out
    assert (variants / "manifest-one.json").is_file()
    assert not (variants / "manifest.json").exists()
    either = cli("ablate", "report", "variants")
    assert refused(either, f"holds manifest-one.json, {other}; choose one by")
    one = cli("ablate", "report", "variants", "--study", "one", "--format", "markdown")
    assert "one: contribution, retrain, accuracy" in one.out


@pytest.mark.slow
def test_the_page_of_pairs_lists_their_certificates(cli: Cli, home: Path, variants: Path) -> None:
    words = (*RUN, "--only", "model-tanh", "--design", "pairwise")
    said = cli("ablate", "run", "variants", *words)
    assert said.code == 0
    assert "--only COMPONENT --only OTHER" in " ".join(said.out.split())
    cli("ablate", "report", "variants", "--format", "html")
    page = (variants / "ablation.html").read_text()
    assert "Combinations (1)" in page
    assert "certified: legal, and changes the output in evaluation mode" in page
    [diff] = (variants / "combinations").glob("*/change.diff")
    assert f'href="combinations/{diff.parent.name}/change.diff"' in page
    assert page.index(">verdict<") < page.index(">smallest p<")


def refused(said: Said, message: str) -> bool:
    return said.code == 2 and said.is_one_error() and message in said.err


def test_wrong_input_gets_one_sentence(cli: Cli, home: Path, variants: Path) -> None:
    write(home / "note.json", "{}")
    for words, message in (
        (("variants",), "give one of --command 'python train.py --seed {seed}', --experiment"),
        (("variants", *RUN, "--dataset", "digits"), "give one of --command"),
        (("variants", "--command", "no-such-program"), "which is no program here"),
        (("variants", "--command", "sh train.sh {seed}"), "a command needs --metric, as in"),
        (("variants", "--command", "sh a.sh", "--metric", "loss"), "'loss' names no place"),
        (("variants", *RUN, "--metric", "a", "--metric", "b"), "--metric names one metric"),
        (
            ("variants", "--command", "sh a.sh", *SLIP),
            f"--metric '{SLIP[1]}' ends with @mn; did you",
        ),
        (("nowhere", *RUN), "nowhere holds no generated variants"),
        (("variants", "--experiment", "none.py:run"), "no such file: none.py"),
        (("variants", "--experiment", "source/experiment.py:go"), "has no function 'go'"),
        (("variants", "--dataset", "digit"), "did you mean 'digits'?"),
        (("variants", *RUN, "--only", "conv*"), "--only 'conv*' fits none of the 5"),
        (("variants", *RUN, "--kinds", "zero,identty"), "'identty'; did you mean 'identity'?"),
        (("variants", *RUN, "--kinds", "zero"), "has no certified variant to run"),
        (("variants", *RUN, "--adaptive", "--design", "path"), "--adaptive is for leave-one-out"),
        (("variants", "--manifest", "note.json"), "is not the manifest of an ablation study"),
        (("variants", "--manifest", "gone.json"), "cannot read the manifest gone.json"),
        (("variants", *RUN, "--memory", "much"), "much"),
    ):
        assert refused(cli("ablate", "run", *words), message), (words, message)
    assert not (variants / "manifest.json").exists()


def test_a_report_of_nothing_gets_one_sentence(cli: Cli, home: Path, variants: Path) -> None:
    assert refused(cli("ablate", "report", "variants"), "variants holds no manifest.json")
    assert refused(cli("ablate", "report", "gone.db"), "there is nothing at gone.db")
    cli("ablate", "run", "nowhere", *RUN)
    assert not (home / "nowhere").exists()


def test_the_built_in_classifier_takes_the_models_own_input_shape(
    cli: Cli, home: Path, variants: Path
) -> None:
    said = cli("ablate", "run", "variants", "--dataset", "tiny", "--seeds", "1", "--epochs", "1")
    assert refused(said, "the model takes inputs of shape (4,), 4 values; data set tiny has 16")
