"""Functional Keras models: what their authors would cut is offered, under the names they gave.

One `generate` per back end, whose answers all tests share; see `test_keras.py` for the Python.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ablate.frameworks.test_keras import CERTIFIED, MODELS, PYTHON, has, run

pytestmark = pytest.mark.slow
BACKENDS = ("torch", "tensorflow")


@dataclass(frozen=True)
class Made:
    """What one `generate` wrote and said."""

    folder: Path
    said: dict[str, Any]

    def variants(self, component: str) -> dict[str, dict[str, Any]]:
        """The variants of a component by kind."""
        found = [item for item in self.said["variants"] if item["component"] == component]
        assert found, Counter(item["component"] for item in self.said["variants"])
        return {item["kind"]: item for item in found}

    def new_lines(self, variant: dict[str, Any]) -> str:
        """The lines of a variant that the baseline does not have."""
        files = [self.folder / name / "graph.py" for name in ("baseline", variant["folder"])]
        before, after = (file.read_text().splitlines() for file in files)
        return "\n".join(line.strip() for line in after if line not in before)


@pytest.fixture(scope="module")
def made_on(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    known: dict[str, Made] = {}

    def made(backend: str) -> Made:
        if backend not in known:
            place = tmp_path_factory.mktemp(backend)
            shutil.copyfile(MODELS / "graph.py", place / "graph.py")
            words = ("--source", "graph.py", "--build", "graph.py:build", "--timeout", "250")
            more = ("--inputs", "graph.py:inputs", "--out", "out", "--workers", "2", "--json")
            ended = run(place, backend, "generate", *words, *more, framework=False)
            assert ended.returncode == 0, ended.stderr
            known[backend] = Made(place / "out", json.loads(ended.stdout))
        return known[backend]

    return made


@pytest.fixture(params=BACKENDS)
def made(request: pytest.FixtureRequest, made_on: Callable[[str], Made]) -> Made:
    return made_on(str(request.param))


def test_layers_go_by_the_names_that_users_see(made: Made) -> None:
    names = {item["name"] for item in made.said["components"]}
    assert names >= {"attention", "memory", "gate", "scaled", "narrow", "drop", "head"}
    assert not any("layers[" in name for name in names)
    assert not [item for item in made.said["variants"] if item["status"] == "failed"]


def test_each_layer_of_a_loop_is_cut_alone(made: Made) -> None:
    for name in ("first_norm", "second_norm"):
        [variant] = made.variants(name).values()
        assert variant["status"] == "certified"
        assert variant["parameter_delta"] == -16
        assert f'name="{name}")' in made.new_lines(variant)
    for name in ("dense", "dense_1"):
        assert all(item["status"] in CERTIFIED for item in made.variants(name).values())


def test_sums_gates_and_joins_name_what_goes(made: Made) -> None:
    sums = made.variants("block:x + skip")
    assert {kind: item["removes"] for kind, item in sums.items()} == {
        "remove-branch": "x",
        "remove-skip": "skip",
    }
    assert made.new_lines(sums["remove-branch"]) == "return skip"
    assert made.new_lines(sums["remove-skip"]) == "return x"
    assert made.new_lines(made.variants("build:x * gate")["identity"]) == "x = x"
    joined = made.variants("build:concatenate[Narrow]")["zero"]
    assert joined["status"] == "certified"
    assert "keras.ops.zeros_like(Narrow()(facts))" in made.new_lines(joined)
    plus = made.variants("build:layers.LSTM of layers.LSTM + facts")
    assert {item["status"] for item in [*sums.values(), *plus.values()]} == {"certified"}
    kept = 'x = (layers.LSTM(8, name="memory")(x), facts)[1]'  # later layers keep their order
    assert made.new_lines(plus["zero"]) == kept


def test_options_heads_and_weights_are_components(made: Made) -> None:
    activation = made.variants("gate activation")["identity"]
    assert activation["status"] == "certified"
    assert '"linear"' in made.new_lines(activation)
    penalty = made.variants("gate kernel_regularizer")["disable"]
    assert penalty["status"] == "certified"
    assert "kernel_regularizer=None" in made.new_lines(penalty)
    heads = [item for item in made.said["variants"] if item["component"] == "attention heads"]
    assert [item["status"] for item in heads] == ["certified"] * 2
    gain = made.variants("Scaled.gain")["constant"]
    assert gain["status"] == "certified"
    assert made.new_lines(gain) == "return x * keras.ops.ones_like(self.gain)"


def test_parts_of_library_layers_and_layers_without_a_shape_are_cut(made: Made) -> None:
    assert made.variants("memory")["zero"]["status"] == "certified"  # an LSTM with its cell
    assert made.variants("narrow")["identity"]["status"] == "certified"


def test_both_back_ends_come_to_the_same(made_on: Callable[[str], Made]) -> None:
    answers = [
        [(item["component"], item["kind"], item["status"]) for item in made.said["variants"]]
        for made in map(made_on, BACKENDS)
    ]
    assert answers[0] == answers[1]


FIT = """
import keras
import numpy as np
from antifragile.ablate.frameworks.keras.models import KerasModels

KerasModels()


def batches(rate):
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(4), keras.layers.Dropout(rate), keras.layers.Dense(1)]
    model, seen = keras.Sequential(layers), []

    def loss(target, output):
        seen.append(keras.ops.convert_to_numpy(target).ravel().tolist())
        return keras.ops.mean(keras.ops.square(target - output), axis=-1)

    model.compile(optimizer="sgd", loss=loss, run_eagerly=True)
    model.fit(np.ones((12, 3)), np.arange(12.0).reshape(12, 1), batch_size=4, epochs=3, verbose=0)
    return seen[-9:]  # the first one may be of symbols


dropped = batches(0.5)
assert len(dropped) == 9
assert dropped[:3] != dropped[3:6]
assert dropped == batches(0.0)
"""


def test_a_dropout_less_leaves_the_batches_as_they_are() -> None:
    for package in ("keras", "torch"):
        if not has(package):
            pytest.skip(f"{package} is not installed for {PYTHON}")
    source = str(Path(__file__).parents[3] / "src")
    environment = {"KERAS_BACKEND": "torch", "PYTHONPATH": source, "PATH": ""}
    ended = subprocess.run(
        [PYTHON, "-c", FIT], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
