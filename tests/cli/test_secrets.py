"""No verb shows the password of a store's address, however the address is malformed."""

from __future__ import annotations

from pathlib import Path

import pytest

from antifragile.ablate.study.manifest_files import load_manifest
from tests.ablate.study.small_study import make_folder
from tests.cli.commands import contents, run_process, write_spec
from tests.cli.conftest import Cli
from tests.test_shown import MALFORMED, SECRET

VERBS = [
    "study run s.toml --store {}",
    "study plan s.toml --store {}",
    "study extend --store {} --trials 3",
    "study status --store {}",
    "study summary --store {}",
    "study export --store {} --out new.csv",
    "ablate run variants --experiment e.py:run --store {}",
    "ablate report {}",
    "classify {}",
    "compare-modes {}",
    "size {}",
    "table V {}",
    "figure regimes {} --out f.svg",
    "report {} --out page",
    "compare {} {} --out page",
]
UNREACHABLE = [
    "postgresql://user:s3cr3t@127.0.0.1:9/name",
    "postgresql://user@127.0.0.1:9/name?password=s3cr3t",
    "postgresql://user:pw@127.0.0.1:9/name?sslmode=s3cr3t&no_such_option=s3cr3t",
    "postgresql://user:pw@127.0.0.1:9/name?connect_timeout=s3cr3t&password=s3cr3t",
    "postgresql://user:s3cr3t@127.0.0.1:9/name?host=",
    "postgresql://user:s3cr3t@/name?host=/nowhere&port=9",
]


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_shows_a_password(verb: str, cli: Cli, home: Path) -> None:
    write_spec(home / "s.toml")
    before = sorted(home.rglob("*"))
    for address in MALFORMED:
        words = [address if word == "{}" else word for word in verb.split()]
        for options in ([], ["--debug"]):
            said = cli(*words, *options)
            assert said.code in (1, 2), (words, said)
            assert SECRET not in said.out + said.err, (words, said)
            assert "internal error" not in said.err, (words, said)
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("address", UNREACHABLE)
def test_no_message_of_the_driver_shows_a_password(address: str, cli: Cli, home: Path) -> None:
    pytest.importorskip("psycopg")
    for options in ([], ["--debug"]):
        said = cli("study", "status", "--store", address, *options)
        assert said.code in (1, 2), said
        assert SECRET not in (said.out + said.err).replace("sslmode=s3cr3t", ""), said
        assert "internal error" not in said.err


def test_a_password_as_another_option_is_not_repeated(cli: Cli) -> None:
    said = cli("study", "status", "--stor", "postgresql://user:s3cr3t@host/name")
    assert SECRET not in said.err
    said = cli("study", "run", "s.toml", "--workers", "postgresql://user:s3cr3t@host/name")
    assert "got 'postgresql://user:***@host/name'" in said.err


def test_an_address_is_no_output_path_and_no_name(cli: Cli, home: Path) -> None:
    variants = make_folder(home)
    address = "postgresql://user:s3cr3t@host/name"
    manifest = Path(__file__).parents[2] / "studies/ablation/transformer-manifest.json"
    before = contents(home)
    run = ("ablate", "run", variants, "--experiment", "source/experiment.py:run", "--seeds", "1")
    report = ("ablate", "report", manifest, "--out", address, "--format")
    for words, message in (
        ((*run, "--name", address), "this one is an address; give --name a plain name"),
        ((*run, "--name", "postgresql:/user:s3cr3t@host"), "this one is an address"),
        ((*report, "html"), "an output path is an address; give the path of a file"),
        ((*report, "markdown"), "an output path is an address"),
    ):
        said = cli(*words)
        assert (said.code, message in said.err) == (2, True), said
        assert SECRET not in said.out + said.err
    assert contents(home) == before


def test_a_file_whose_name_looks_like_an_address_needs_a_path(cli: Cli, home: Path) -> None:
    write_spec(home / "s.toml")
    said = cli("study", "run", "s.toml", "--store", "postgresql:/user:s3cr3t@host/name")
    assert said.err == (
        "error: store 'postgresql:/user:***@host/name' looks like a database URL with a slip; "
        "write postgresql://USER:PASSWORD@HOST:PORT/NAME, or for a file of that name ./NAME.\n"
    )
    assert cli("study", "run", "s.toml", "--store", "./a:b.db", "--workers", 1).code == 0
    assert (home / "a:b.db").is_file()


@pytest.mark.slow
def test_a_manifest_keeps_no_password_of_its_command(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "import torch\n\n\nclass Net(torch.nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.one = torch.nn.Linear(4, 4)\n"
        "        self.two = torch.nn.Linear(4, 2)\n\n    def forward(self, x):\n"
        "        return self.two(torch.relu(self.one(x)))\n\n\ndef build():\n    return Net()\n\n\n"
        "def inputs():\n    return (torch.randn(3, 4),)\n"
    )
    (tmp_path / "e.py").write_text(
        "def run(build_model, seed, data_order_seed):\n    build_model()\n    return {'a': 1.0}\n"
    )
    entries = ("--build", "model.py:build", "--inputs", "model.py:inputs")
    made = run_process(
        tmp_path, "ablate", "generate", "--source", "model.py", *entries, "--out", "v"
    )
    assert made.code == 0, made
    name = "password=s3cr3t"  # of a study, to stand for the address of a server
    run = ("ablate", "run", "v", "--experiment", "e.py:run", "--seeds", 2, "--workers", 1)
    done = run_process(tmp_path, *run, "--name", name)
    assert done.code == 0, done
    (manifest,) = (tmp_path / "v").glob("manifest*.json")
    assert "password=***" in load_manifest(manifest).command
