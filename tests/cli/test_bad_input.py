"""Wrong input: exit code 2, one clear sentence, no traceback, nothing written."""

from __future__ import annotations

import gzip
import shlex
import shutil
import sqlite3
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from antifragile.cli.main import run
from antifragile.config.specs.study import StudySpec
from antifragile.data.datasets import load_dataset
from antifragile.store.owner import OwnedKind, Ownership
from antifragile.store.store import Store
from antifragile.study.agreement import data_facts
from antifragile.study.runner import run_study
from tests.cli.commands import SPEC, contents, run_process, write_spec
from tests.cli.conftest import Cli

SPECS = {
    "seed": {"seed": -1},
    "big-seed": {"seed": 2**60},
    "bool": {"trials": True},
    "trials": {"trials": 0},
    "many": {"trials": 10**6},
    "loops": {"meta_loops": 10**9},
    "text-loops": {"meta_loops": "3"},
    "no-name": {"name": None},
    "empty-name": {"name": " "},
    "long-name": {"name": "n" * 300},
    "no-shapes": {"architectures": []},
    "one-shape": {"architectures": "4*4"},
    "bad-shape": {"architectures": ["4*4", "[0*4]", "4*", ""]},
    "number-shape": {"architectures": [4]},
    "twice": {"architectures": ["2*2", "[1*2, 1*2]"]},
    "huge": {"architectures": ["1*999999999"]},
    "deep": {"architectures": ["999999999*4"]},
    "digits": {"architectures": ["1*" + "9" * 40]},
    "mode": {"modes": ["none", "hiden"]},
    "no-modes": {"modes": []},
    "mode-text": {"modes": "none"},
    "mode-twice": {"modes": ["none", "none"]},
    "keep": {"keep": "lgk"},
    "pairing": {"pairing": "pared"},
    "preset": {"preset": "papr"},
    "dataset": {"dataset": "mnits"},
    "dataset-number": {"dataset": 3},
    "key": {"meta_lops": 3},
    "training-key": {"training": {"learning_rat": 1}},
    "training": {"training": 3},
    "rate": {"training": {"learning_rate": 0}},
    "batch": {"training": {"batch_size": 1.5}},
    "dropout": {"training": {"dropout": 1.0}},
    "npz": {"dataset": "npz:nothing.npz"},
    "other-seed": {"seed": 2},
    "fewer-modes": {"modes": ["none"]},
    "more-trials": {"trials": 3, "meta_loops": 4, "seed": 5},
    "three": {"trials": 3},
    "unkept": {"keep": "none", "name": "unkept"},
}
TEXTS = {
    "syntax": "name = 'small'\ndataset = = 'tiny'\n",
    "empty": "",
    "digit-limit": "seed = " + "9" * 5000,
    "hexadecimal": "seed = 0x" + "f" * 5000,
    "infinite": "name = 'x'\ndataset = 'tiny'\narchitectures = ['1*4']\n"
    "training.learning_rate = inf\ntraining.dropout = nan",
    "float": "name = 'x'\ndataset = 'tiny'\narchitectures = ['1*4']\n"
    "training.learning_rate = 1" + "0" * 400,
}

BAD = [
    # the command line itself
    ("landscape --foo", "no such option: --foo; see 'antifragile landscape --help'."),
    ("landscape extra", "unexpected extra argument"),
    ("studdy", "Did you mean 'study'?"),
    ("study rum s.toml", "Did you mean 'run'?"),
    ("study run", "missing argument"),
    ("train --arch", "'--arch' requires an argument"),
    # data sets
    ("data info mnits", "unknown data set 'mnits'; did you mean 'mnist'?"),
    ("data info tiny --normalization unti", "got 'unti'"),
    ("data info mnist --no-download", "downloading is switched off"),
    ("data info mnist --data-dir nowhere", "'mnist' lacks 4 of its 4 files: cannot download"),
    ("data info mnist --data-dir cut --no-download", "train-images-idx3-ubyte.gz"),
    ("data info mnist --data-dir s.toml", "s.toml"),
    ("data list --data-dir s.toml", "s.toml"),
    ("data info npz:nothing.npz", "nothing.npz does not exist"),
    ("data info npz:.", "is a folder"),
    ("data info npz:s.toml", "s.toml is not an npz file or is damaged"),
    ("data info npz:cut.npz", "cut.npz is not an npz file or is damaged"),
    ("data info npz:lengths.npz", "expected one label per image"),
    ("data info npz:keys.npz", "lacks labels"),
    ("data info npz:objects.npz", "images cannot be read"),
    ("data info npz:nan.npz", "1 values that are not finite"),
    ("data info npz:floats.npz", "must be a (N,) array of integers"),
    # specs
    ("study run nothing.toml", "no study spec at nothing.toml; give the path of a TOML file."),
    ("study run .", "cannot read study spec ."),
    ("study run s.toml/x.toml", "cannot read study spec"),
    ("study run good.npz", "is not valid TOML"),
    ("study run syntax.toml", "syntax.toml is not valid TOML: Invalid value (at line 2"),
    ("study run digit-limit.toml", "is not valid TOML"),
    ("study run hexadecimal.toml", "seed must be at most 9007199254740992"),
    ("study run empty.toml", "has 3 faults:\n  - missing key 'name'\n  - missing key 'dataset'"),
    ("study run infinite.toml", "learning_rate must be above 0 and below 1e+18; got inf"),
    ("study run float.toml", "learning_rate must be above 0 and below 1e+18; got 1000"),
    ("study run seed.toml", "seed must be at least 0; got -1."),
    ("study run big-seed.toml", "seed must be at most"),
    ("study run bool.toml", "trials must be a whole number of at least 1; got True."),
    ("study run trials.toml", "trials must be at least 1; got 0."),
    ("study run many.toml", "make 4,000,000 trials in all"),
    ("study run loops.toml", "meta_loops must be at most"),
    ("study run text-loops.toml", "meta_loops must be a whole number of at least 1; got '3'."),
    ("study run no-name.toml", "missing key 'name'"),
    ("study run empty-name.toml", "name must be a non-empty text; got ' '."),
    ("study run long-name.toml", "name must be at most 200 printable characters"),
    ("study run no-shapes.toml", "architectures must list at least one architecture"),
    ("study run one-shape.toml", "must be a list of shapes or 'paper'; got '4*4'."),
    ("study run bad-shape.toml", "has 3 faults:\n  - block 0*4 has no neurons"),
    ("study run number-shape.toml", "architecture 4 is not a text; write it as '4*4'"),
    ("study run twice.toml", "architecture '2*2' is listed 2 times"),
    ("study run huge.toml", "1*999999999 does not fit in memory"),
    ("study run deep.toml", "999999999*4 does not fit in memory"),
    ("study run digits.toml", "is larger than any memory"),
    ("study run mode.toml", "mode 'hiden' is unknown; did you mean 'hidden'?"),
    ("study run no-modes.toml", "modes must list at least one mode"),
    ("study run mode-text.toml", "modes must be a list of names or 'paper'; got 'none'."),
    ("study run mode-twice.toml", "mode 'none' is listed 2 times"),
    ("study run keep.toml", "keep 'lgk' is unknown; did you mean 'lkg'?"),
    ("study run pairing.toml", "pairing 'pared' is unknown; did you mean 'paired'?"),
    ("study run preset.toml", "study spec: preset 'papr' is unknown; did you mean 'paper'?\n"),
    ("study run dataset.toml", "unknown data set 'mnits'; did you mean 'mnist'?"),
    ("study run dataset-number.toml", "dataset must be a name or 'npz:PATH'; got 3."),
    ("study run key.toml", "unknown key 'meta_lops'; did you mean 'meta_loops'?"),
    ("study run training-key.toml", "'training.learning_rat'; did you mean 'learning_rate'?"),
    ("study run training.toml", "training must be a table; got 3."),
    ("study run rate.toml", "learning_rate must be above 0 and below 1e+18; got 0"),
    ("study run batch.toml", "batch_size must be a whole number of at least 1; got 1.5."),
    ("study run dropout.toml", "dropout must be at least 0 and below 1; got 1.0."),
    ("study run npz.toml", "nothing.npz does not exist"),
    # how to run
    ("study run s.toml --workers 0", "'--workers'"),
    ("study run s.toml --workers -2", "got '-2'"),
    ("study run s.toml --workers two", "got 'two'"),
    ("study run s.toml --checkpoint-every -1", "'--checkpoint-every'"),
    ("study run s.toml --checkpoint-every nan", "got 'nan'"),
    (f"ablate run variants --seeds 1{'0' * 300}", "it must be less than or equal to 10000; got"),
    ("study run s.toml --device gpu", "device 'gpu' is unknown; expected one of cpu, cuda, mps."),
    ("study run s.toml --store new.db --files s.toml", "s.toml cannot be a folder"),
    ("study run s.toml --store sqlite:// --workers 2", "an in-memory store serves one process"),
    ("study run s.toml --engine fast", "got 'fast'"),
    ("study run s.toml --precision fp8", "got 'fp8'"),
    ("study run s.toml --engine plain --precision bf16", "--engine plain computes in fp32"),
    ("study run s.toml --memory-budget 0", "--memory-budget must be at least"),
    ("study plan nothing.toml", "no study spec at nothing.toml"),
    ("study plan seed.toml", "seed must be at least 0; got -1."),
    ("study plan s.toml --store foreign.db", "is a database of something else"),
    ("study plan other-seed.toml --store runs.db", "seed: 2 against 1337"),
    # stores
    ("study run s.toml --store ''", "the store is empty; give a file as in runs.db"),
    ("study run s.toml --store .", "store . is a folder; give the path of a file"),
    ("study run s.toml --store s.toml", "s.toml is not an antifragile store, or is damaged"),
    ("study run s.toml --store s.toml/runs.db", "Not a directory"),
    ("study run s.toml --store foreign.db", "is a database of something else (it has a table 'b"),
    ("study run s.toml --store newer.db", "newer.db has schema version 99, newer than this"),
    ("study run s.toml --store unmarked.db", "does not say its schema version"),
    ("study run s.toml --store mysql://host/name", "unknown database 'mysql'; expected one of"),
    ("study run s.toml --store postgres://host/name", "did you mean 'postgresql'?"),
    ("study run s.toml --store sqlite://host/runs.db", "names a host, SQLite has none"),
    ("study run s.toml --store postgresql://host:port/name", "is not a database URL"),
    (f"study run s.toml --store {'n' * 300}.db", "File name too long"),
    ("study status --store nothing.db", "no store at nothing.db; run a study with --store"),
    ("study status --store foreign.db", "is a database of something else"),
    ("study status --store blank.db", "store blank.db is empty; run a study into it first."),
    ("study status --store spec.db", "the row of study_id 1 in table studies does not"),
    ("study summary --store newer.db", "upgrade antifragile"),
    ("study summary --store two.db", "has 2 studies ('small', 'other'); choose by --study."),
    ("study summary --store two.db --study othr", "no study 'othr'; did you mean 'other'?"),
    ("study summary --store runs.db --measure best", "got 'best'"),
    ("study export --store nothing.db", "no store at nothing.db"),
    ("study export --store runs.db --study x", "has no study 'x'; expected one of small."),
    ("study export --store runs.db --format xml", "got 'xml'"),
    ("study export --store runs.db --table rows", "got 'rows'"),
    ("study export --store runs.db --format parquet", "parquet is not text; name a file with"),
    ("study export --store runs.db --format mlflow", "mlflow is a folder of runs; name a new one"),
    (
        "study export --store runs.db --format tensorboard --table trials --out new",
        "--table chooses the rows of a file; tensorboard runs hold all of them.",
    ),
    ("study export --store runs.db --format tensorboard --out out", "out already holds something"),
    ("study export --store runs.db --out out", "out is a folder; give the path of a file."),
    ("study export --store runs.db --out s.toml/x.csv", "s.toml cannot be a folder"),
    # a study that differs from the stored one
    ("study run other-seed.toml --store runs.db", "(seed: 2 against 1337); give the study anothe"),
    ("study run fewer-modes.toml --store runs.db", 'modes: ["none"] against ["none", "output"]'),
    ("study run more-trials.toml --store runs.db", "seed: 5 against 1337"),
    ("study run three.toml --store machine.db", "begun under other conditions (machine"),
    ("study run s.toml --store data.db", "was run on other data than 'tiny'"),
    # extensions
    ("study extend --store runs.db", "nothing to extend; give a new total"),
    ("study extend --store nothing.db --trials 3", "no store at nothing.db"),
    ("study extend --store runs.db --trials 1", "already has trials = 2"),
    ("study extend --store runs.db --trials -1", "already has trials = 2"),
    ("study extend --store runs.db --meta-loops 2", "already has meta_loops = 3"),
    ("study extend --store runs.db --trials 99999999999", "trials must be at most 1000000"),
    ("study extend --store runs.db --trials 3 --device tpu", "device 'tpu' is unknown"),
    ("study extend --store runs.db --trials 3 --files s.toml", "s.toml cannot be a folder"),
    ("study extend --store machine.db --trials 3", "was begun under other conditions"),
    ("study extend --store unkept.db --meta-loops 4", "kept no states (keep = 'none')"),
    # one trial
    ("train --arch 4*", "architecture '4*' has block '4*'; write layers*width as in '4*4'"),
    ("train --arch '[0*4]'", "block 0*4 has no neurons; layers and width must be at least 1."),
    ("train --arch ''", "architecture '' has an empty block"),
    ("train --arch '[]'", "architecture '[]' has an empty block"),
    ("train --arch 4*-4", "has block '4*-4'"),
    ("train --arch '[4*4'", "has an unpaired bracket"),
    ("train --arch 4*4,2*2", "has several blocks but no brackets"),
    ("train --arch '[1*999999999]'", "does not fit in memory: training it needs at least"),
    ("train --arch 999999999*4", "use fewer or narrower layers."),
    (f"train --arch 1*{'9' * 5000}", "is larger than any memory"),
    ("train --mode hiden", "unknown mode 'hiden'; did you mean 'hidden'?"),
    ("train --dataset digit", "unknown data set 'digit'; did you mean 'digits'?"),
    ("train --dataset mnist --data-dir nowhere", "Put train-images-idx3-ubyte.gz"),
    ("train --meta-loops 0", "got '0'; see 'antifragile train --help'."),
    ("train --meta-loops 99999999999", "meta_loops must be at most"),
    ("train --trial 0", "'--trial'"),
    ("train --seed -1", "got '-1'"),
    ("train --seed 99999999999999999999999", "seed must be at most"),
    ("train --seed 1e3", "got '1e3'"),
    ("train --pairing pared", "pairing 'pared' is unknown; did you mean 'paired'?"),
    ("train --preset papr", "preset 'papr' is unknown; did you mean 'paper'?\n"),
    ("train --learning-rate 0", "learning_rate must be above 0"),
    ("train --learning-rate nan", "got nan"),
    ("train --learning-rate fast", "got 'fast'"),
    ("train --batch-size 0", "batch_size must be at least 1; got 0."),
    ("train --weight-decay -1", "weight_decay must be at least 0"),
    ("train --dropout 1", "dropout must be at least 0 and below 1; got 1.0."),
    ("train --normalization none", "normalization 'none' is unknown; expected one of stand"),
    ("train --device tpu", "device 'tpu' is unknown; expected one of cpu, cuda, mps."),
    ("train --dataset tiny --out s.toml", "s.toml cannot be a folder, there is a file"),
    ("train --dataset tiny --arch 1*4 --out out", "out already holds a trained network; add --re"),
    ("train --dataset tiny --arch 1*4 --out out --resume --seed 2", "belongs to another trial"),
    ("train --dataset tiny --arch 1*5 --out out --resume", "belongs to another trial"),
    (
        "train --dataset tiny --arch 1*4 --out out --resume --meta-loops 1",
        "already has 2 meta-loops in mode 'none'; give a larger --meta-loops or another --mode",
    ),
    ("train --dataset tiny --arch 1*4 --out flipped --resume", "is damaged"),
    ("train --dataset tiny --arch 1*4 --out cut-state --resume", "is damaged"),
    ("train --dataset tiny --arch 1*4 --out cut-story --resume", "lkg.json is missing or damaged"),
]


@pytest.fixture(scope="module")
def cupboard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good example of everything, and the bad ones."""
    folder = tmp_path_factory.mktemp("cupboard")
    write_spec(folder / "s.toml")
    for name, changes in SPECS.items():
        write_spec(folder / f"{name}.toml", **changes)
    for name, text in TEXTS.items():
        (folder / f"{name}.toml").write_text(text)
    fill_stores(folder)
    fill_arrays(folder)
    fill_states(folder)
    return folder


def own(store: Store) -> AbstractContextManager[Ownership]:
    return store.owned(OwnedKind.STUDY, str(SPEC["name"]))


def fill_stores(folder: Path) -> None:
    for store, *changes in (
        ("runs", {}),
        ("two", {}, {"name": "other"}),
        ("unkept", SPECS["unkept"]),
    ):
        for change in changes:
            spec = StudySpec.from_mapping(SPEC | change)
            run_study(spec, store=str(folder / f"{store}.db")).store.close()
    for store, statement in (
        ("newer", "UPDATE antifragile_store SET schema_version = 99"),
        ("unmarked", "DELETE FROM antifragile_store"),
        ("spec", "UPDATE studies SET spec = '{}'"),
    ):
        shutil.copy(folder / "runs.db", folder / f"{store}.db")
        change_database(folder / f"{store}.db", statement)
    spec = StudySpec.from_mapping(SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("antifragile.study.machine._cpu_vendor", lambda: "abacus")
        run_study(spec, store=str(folder / "machine.db")).store.close()
    with Store(str(folder / "machine.db")) as store, own(store) as owner:
        store.extend_study(spec.extended(trials=3), owner=owner)
    with Store(str(folder / "data.db")) as store, own(store) as owner:
        facts = replace(data_facts(load_dataset("tiny")), data_sha256="other")
        store.add_study(spec, facts, owner=owner)
    change_database(folder / "foreign.db", "CREATE TABLE birds (name TEXT)")
    (folder / "blank.db").touch()


def change_database(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def fill_arrays(folder: Path) -> None:
    images, labels = np.zeros((20, 2)), np.arange(20) % 2
    np.savez(folder / "good.npz", images=images, labels=labels)
    (folder / "cut.npz").write_bytes((folder / "good.npz").read_bytes()[:-100])
    np.savez(folder / "lengths.npz", images=images, labels=labels[:-1])
    np.savez(folder / "keys.npz", images=images, lables=labels)
    np.savez(folder / "objects.npz", images=np.array([{}] * 20), labels=labels)
    np.savez(folder / "floats.npz", images=images, labels=labels / 2)
    broken = images.copy()
    broken[3, 1] = np.nan
    np.savez(folder / "nan.npz", images=broken, labels=labels)
    (folder / "cut" / "mnist").mkdir(parents=True)
    header = gzip.compress(bytes([0, 0, 8, 3, 0, 0, 234, 96, 0, 0, 0, 28, 0, 0, 0, 28]))
    (folder / "cut" / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(header[:-4])


def fill_states(folder: Path) -> None:
    trained = "train --dataset tiny --arch 1*4 --meta-loops 2 --out"
    assert run([*shlex.split(trained), str(folder / "out")]) == 0
    for name in ("flipped", "cut-state", "cut-story"):
        shutil.copytree(folder / "out", folder / name)
    state = (folder / "out" / "lkg.safetensors").read_bytes()
    (folder / "flipped" / "lkg.safetensors").write_bytes(state[:-1] + bytes([state[-1] ^ 1]))
    (folder / "cut-state" / "lkg.safetensors").write_bytes(state[:-10])
    (folder / "cut-story" / "lkg.json").write_text('{"segments": [')


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line[:60] for line, _ in BAD])
def test_wrong_input_gets_one_sentence(
    line: str, message: str, cupboard: Path, home: Path, cli: Cli
) -> None:
    if "tensorboard" in line:
        pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    shutil.copytree(cupboard, home, dirs_exist_ok=True)
    before = contents(home)
    said = cli(*shlex.split(line))
    assert message in said.err
    assert said.is_one_error(), said.err
    assert (said.code, said.out) == (2, "")
    assert contents(home) == before
    assert not (home.parent / "user").exists()


def test_all_faults_of_a_spec_are_listed_at_once(home: Path, cli: Cli) -> None:
    write_spec(home / "s.toml", seed=-1, modes=["hiden"], sede=1, training={"beta1": 1})
    said = cli("study", "run", "s.toml")
    assert said.code == 2
    assert said.err.splitlines() == [
        "error: s.toml: study spec has 4 faults:",
        "  - unknown key 'sede'; did you mean 'seed'?",
        "  - beta1 must be at least 0 and below 1; got 1",
        "  - mode 'hiden' is unknown; did you mean 'hidden'?",
        "  - seed must be at least 0; got -1",
    ]


def test_a_group_without_a_verb_shows_its_help(cli: Cli) -> None:
    said = cli("study")
    assert said.code == 2
    assert "Usage: antifragile study" in said.out + said.err


def test_debug_shows_the_traceback_and_the_sentence(cli: Cli) -> None:
    said = cli("train", "--mode", "hiden", "--debug")
    assert said.code == 2
    assert "Traceback (most recent call last)" in said.err
    assert said.err.splitlines()[-1] == "error: unknown mode 'hiden'; did you mean 'hidden'?"


def test_a_real_process_answers_the_same(tmp_path: Path) -> None:
    said = run_process(tmp_path, "train", "--arch", "[0*4]")
    assert said.is_one_error()
    assert (said.code, said.out) == (2, "")
    assert "block 0*4 has no neurons" in said.err
    assert contents(tmp_path) == {}
