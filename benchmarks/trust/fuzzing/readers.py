"""The readers of the program: what each is given, and the functions that read it.

A broken input is made from a good one by a random generator, so that its number tells all about it.
"""

from __future__ import annotations

import io
import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from antifragile.ablate.study.folder import read_ablation_folder
from antifragile.ablate.study.manifest_files import load_manifest
from antifragile.ablate.study.results import read_results
from antifragile.ablate.study.running.combinations import read_certificate
from antifragile.analysis.convergence import (
    mean_and_best_curves,
    peak_times,
    read_curves_csv,
    still_improving,
)
from antifragile.analysis.regimes.classification import classify_source
from antifragile.analysis.regimes.words import RegimeRules
from antifragile.analysis.source import Source, open_source
from antifragile.analysis.summary import Measure, summarise
from antifragile.config.architecture import Architecture
from antifragile.config.perturbation import Perturbation
from antifragile.config.specs.study import StudySpec
from antifragile.config.specs.training import Normalization
from antifragile.data.idx import gunzip, parse_idx
from antifragile.data.npz import load_npz
from antifragile.engine.checkpoint import load_checkpoint, save_checkpoint
from antifragile.engine.policies import KeptStates, Progress, Standing, StateSlot
from antifragile.engine.trial import TrialState
from antifragile.errors import AntifragileError
from antifragile.report.ablation.tables import ablation_tables
from antifragile.report.table import as_csv, as_markdown
from antifragile.store.database.address import parse_store_url, show
from antifragile.store.store import Store
from antifragile.study.single.story import read_story
from benchmarks.trust.fuzzing.commands import run_here, write_here
from benchmarks.trust.fuzzing.mutations import (
    VALUES,
    mutate_bytes,
    mutate_data,
    mutate_store,
    mutate_text,
)

ADDRESSES = (
    *("runs.db", "sqlite:///runs.db", "sqlite://", "sqlite:///x.db?mode=ro&uri=true", "./a b.db"),
    *("postgresql://user:s3cr3t@127.0.0.1:9/name", "postgres://user:s3cr3t@127.0.0.1:9/name"),
    *("postgresql://127.0.0.1:9/name?user=u&password=s3cr3t&connect_timeout=1",),
    *("mysql://user:s3cr3t@127.0.0.1/name", "postgresql+psycopg://user:s3cr3t@127.0.0.1:9/name"),
    *("host=127.0.0.1 port=9 user=u password=s3cr3t dbname=name",),
)
TRAINED = (16, 4, 4)  # layer sizes of the network that `material` trains
_SECRET = re.compile(r":s3cr3t@|password=s3cr3t")
SHAPES = ("4*4", "[2*128, 4*64]", "1*2048", "[1*4]", "115*115", "[2*8, 1*4, 3*2]")
PERTURBATIONS = (
    *(
        "annealed_gradient_noise:eta=0.1,gamma=0.55",
        "pgd:radius=0.1,wait=3",
        "sam",
        "sgld:n_samples=5",
    ),
    *("shrink_and_perturb:shrink=0.5,sigma=0.1,every=7", "psgld:decay=0.9,floor=1e-5"),
)


@dataclass(frozen=True)
class Reader:
    """A reader with its broken inputs.

    Args:
        name: Name in the table.
        write: Writes a broken input into an empty folder and returns what the reader is given:
            the path, or a text.
        read: Reads it, and uses what it has read.
        share: Its share of all inputs, in parts.
    """

    name: str
    write: Callable[[Path, random.Random], Any]
    read: Callable[[Any], object]
    share: int = 1


def all_readers(good: Path) -> tuple[Reader, ...]:
    """Every reader, with inputs made from those of `material.prepare`."""
    variants = good / "variants"
    certificate = next(variants.glob("*/certificate.json"))
    return (
        Reader("specs", _text_file(good / "spec.toml"), _read_spec, 3),
        Reader("architectures", _any_of(SHAPES), _read_shape, 2),
        Reader("perturbations", _any_of(PERTURBATIONS), Perturbation.parse, 2),
        Reader("arrays, npz", _write_npz, _read_npz, 3),
        Reader("IDX", _bytes_file(good / "images.idx", good / "images.idx.gz"), _read_idx, 2),
        Reader("CSV of trials", _text_file(good / "trials.csv"), _read_trials, 4),
        Reader("CSV of curves", _text_file(good / "curves.csv"), _read_curves, 3),
        Reader("stores", partial(_write_store, good), _read_store, 4),
        Reader("checkpoints", partial(_write_checkpoint, good), _read_checkpoint, 3),
        Reader("stories", _json_file(good / "out" / "lkg.json"), read_story, 2),
        Reader("manifests", _json_file(variants / "manifest.json"), _read_manifest, 4),
        Reader("ablation sets", partial(_write_set, good), read_ablation_folder, 2),
        Reader("certificates", _json_file(certificate), read_certificate),
        Reader("store addresses", _any_of(ADDRESSES), _read_address, 3),
        Reader("command lines", partial(write_here, good), run_here, 4),
    )


# --- broken inputs --------------------------------------------------------------------------------


def _any_of(texts: Sequence[str]) -> Callable[[Path, random.Random], str]:
    return lambda _, rng: mutate_text(rng.choice(texts), rng)


def _text_file(good: Path) -> Callable[[Path, random.Random], Path]:
    """Break a text file, now and then its bytes."""
    content = good.read_bytes()

    def write(folder: Path, rng: random.Random) -> Path:
        path = folder / good.name
        if rng.random() < 0.15:
            path.write_bytes(mutate_bytes(content, rng))
        else:
            text = mutate_text(content.decode(), rng)
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return path

    return write


def _bytes_file(*good: Path) -> Callable[[Path, random.Random], Path]:
    contents = {path.name: path.read_bytes() for path in good}

    def write(folder: Path, rng: random.Random) -> Path:
        name = rng.choice(sorted(contents))
        path = folder / name
        path.write_bytes(mutate_bytes(contents[name], rng))
        return path

    return write


def _json_file(good: Path) -> Callable[[Path, random.Random], Path]:
    """Break the data of a JSON file, now and then its text."""
    content = good.read_text()
    data = json.loads(content)

    def write(folder: Path, rng: random.Random) -> Path:
        path = folder / good.name
        is_text = rng.random() < 0.2
        changed = mutate_text(content, rng) if is_text else json.dumps(mutate_data(data, rng))
        path.write_bytes(changed.encode("utf-8", "surrogatepass"))
        return path

    return write


def _write_npz(folder: Path, rng: random.Random) -> Path:
    """Arrays of any kind and shape under any names, or a good archive with broken bytes."""
    path = folder / "data.npz"
    numbers = np.random.default_rng(rng.randrange(2**32))
    labels = numbers.integers(0, 3, 40)
    arrays: dict[str, Any] = {"images": numbers.random((40, 6), dtype=np.float32), "labels": labels}
    if rng.random() < 0.7:
        key = rng.choice(("images", "labels", "train_images", "x", "a/b", "test_labels"))
        arrays[key] = _any_array(rng, numbers)
        if rng.random() < 0.3:
            arrays.pop(rng.choice(sorted(arrays)))
    content = io.BytesIO()
    np.savez(content, **arrays)
    plain = content.getvalue()
    path.write_bytes(mutate_bytes(plain, rng) if rng.random() < 0.4 else plain)
    if rng.random() < 0.1:
        with path.open("wb") as file:
            np.save(file, arrays.get("images", labels))
    return path


def _any_array(rng: random.Random, numbers: np.random.Generator) -> np.ndarray:
    kinds = (*"bBhHiIlLefdgFD?", "U3", "S3", "M8[s]", "m8[s]", "i4,f8", ">f4")
    shape = rng.choice(
        ((40, 6), (40,), (), (0,), (40, 0), (0, 6), (39, 6), (40, 2, 3), (2, 2, 2, 2))
    )
    array = np.zeros(shape, dtype=rng.choice(kinds))
    if array.size and array.dtype.kind in "iufc" and rng.random() < 0.7:
        array[...] = numbers.integers(0, 3, shape).astype(array.dtype)
        if array.dtype.kind in "fc" and rng.random() < 0.6:
            array.flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, -1e30, 1e4, 0.5))
        elif array.dtype.kind in "iu" and rng.random() < 0.5:
            array.flat[0] = np.iinfo(array.dtype).max
    return array


def _write_store(good: Path, folder: Path, rng: random.Random) -> Path:
    path = folder / "runs.db"
    shutil.copyfile(good / "runs.db", path)
    mutate_store(path, rng)
    return path


def _write_checkpoint(good: Path, folder: Path, rng: random.Random) -> Path:
    """A checkpoint with broken bytes, or a whole one that says what no trial says."""
    path = folder / "lkg.safetensors"
    content = (good / "out" / "lkg.safetensors").read_bytes()
    if rng.random() < 0.5:
        path.write_bytes(mutate_bytes(content, rng))
        return path
    (folder / "good.safetensors").write_bytes(content)
    state, _ = load_checkpoint(folder / "good.safetensors", fingerprint=None)
    weights = dict(state.lkg.weights)
    name = rng.choice(sorted(weights))
    kind = rng.choice((torch.float16, torch.int32, torch.float64, torch.int64, torch.bool))
    changed = {
        "values": torch.full_like(weights[name], rng.choice((float("nan"), float("inf"), 1e38))),
        "type": weights[name].to(kind),
        "shape": weights[name].reshape(-1)[1:].clone(),
        "none": torch.zeros(0),
        "number": torch.tensor(1.0),
    }
    weights[rng.choice((name, name, "foreign"))] = changed[rng.choice(sorted(changed))]
    numbers: list[Any] = [state.meta_loop, state.lkg.bounty, state.lkg.meta_loop]
    if rng.random() < 0.5:
        numbers[rng.randrange(3)] = rng.choice([v for v in VALUES if v != "\ud800"])
    lkg = Standing(score=numbers[1], meta_loop=numbers[2])
    kept = KeptStates(
        progress=Progress(meta_loop=numbers[0], lkg=lkg, best=lkg),
        weights={StateSlot.LKG: weights},
    )
    broken = TrialState(kept=kept, final_correct=state.final_correct)
    save_checkpoint(path, broken, fingerprint="f", notes=rng.choice(({}, {"a": [1]})))
    return path


def _write_set(good: Path, folder: Path, rng: random.Random) -> Path:
    """A set of variants with a broken index."""
    there = folder / "variants"
    there.symlink_to(good / "variants")
    own = folder / "set"
    shutil.copytree(there, own, ignore=shutil.ignore_patterns("*.db", "__pycache__"), symlinks=True)
    _json_file(own / "ablations.json")(own, rng)
    return own


# --- reading --------------------------------------------------------------------------------------


def _read_spec(path: Path) -> None:
    spec = StudySpec.from_toml(path)
    assert StudySpec.from_json(spec.canonical_json()) == spec


def _read_shape(text: str) -> None:
    shape = Architecture.parse(text)
    assert Architecture.parse(shape.name) == shape
    shape.parameter_count()


def _read_npz(path: Path) -> None:
    load_npz(f"npz:{path}", normalization=Normalization.STANDARDIZE)


def _read_idx(path: Path) -> None:
    content = path.read_bytes()
    parse_idx(gunzip(content, source=path.name) if path.suffix == ".gz" else content)


def _read_trials(path: Path) -> None:
    _analyse(open_source(str(path), zero_r=10))


def _analyse(source: Source) -> None:
    for measure in Measure:
        if measure.column in source.trials:
            summarise(source.trials, measure)
    classify_source(source, rules=RegimeRules.COMPLETE, measure=Measure.PEAK)


def _read_curves(path: Path) -> None:
    found = read_curves_csv(path)
    if len(found):
        for draw in (mean_and_best_curves, peak_times, still_improving):
            draw(found)


def _read_store(path: Path) -> None:
    """Read a store as an analysis does, then as its driver does."""
    _analyse(open_source(str(path)))
    with Store(str(path), create=False) as store:
        for name in store.study_names():
            store.progress(name, meta_loops=store.study(name).spec.meta_loops)


def _read_checkpoint(path: Path) -> None:
    load_checkpoint(path, fingerprint=None, layer_sizes=TRAINED)


def _read_manifest(path: Path) -> None:
    manifest = load_manifest(path)
    for table in ablation_tables(read_results(manifest)):
        as_markdown(table), as_csv(table)


def _read_address(text: str) -> None:
    try:
        said = show(parse_store_url(text))
    except AntifragileError as error:
        said = str(error)
        raise
    finally:
        if found := _SECRET.search(said):
            raise AssertionError(f"{found[0]!r} is a password, and is shown")
