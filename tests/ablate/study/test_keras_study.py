"""Keras variants train on paired seeds, on both back ends: the pairs are equal to the bit.

The Python that has Keras and this package's own dependencies may be another one; see
`tests/ablate/frameworks/test_keras.py`, which names it by ANTIFRAGILE_KERAS_PYTHON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.ablate.frameworks.test_keras import has, run

pytestmark = pytest.mark.slow

MODEL = """\
import keras
import numpy as np
from keras import layers


class Residual(layers.Layer):
    def __init__(self, width):
        super().__init__()
        self.dense = layers.Dense(width, activation="tanh")

    def call(self, x):
        return x + self.dense(x)


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.stem = layers.Dense(6)
        self.extra = layers.Dense(6)
        self.block = Residual(6)
        self.drop = layers.Dropout(0.3)
        self.head = layers.Dense(2)

    def call(self, x, training=False):
        x = self.block(self.extra(self.stem(x)))
        return self.head(self.drop(x, training=training))


def build():
    return Net()


def inputs():
    return (np.ones((3, 4), "float32"),)


def data(seed, n):
    x = np.random.default_rng(seed).normal(size=(n, 4)).astype("float32")
    return x, (x[:, 0] * x[:, 1] > 0).astype("int32")


def fit(build_model, seed, data_order_seed):
    model = build_model()
    start = {f"start {path}": float(np.abs(w).sum()) for path, w in paths(model)}
    x, y = data(seed, 96)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
    keras.utils.set_random_seed(data_order_seed)
    model.fit(x, y, batch_size=32, epochs=2, verbose=0)
    drawn = np.random.rand() + float(keras.ops.sum(keras.random.uniform((2,))))
    return evaluate(model, seed, data_order_seed) | start | {"drawn": drawn}


def paths(model):
    named = {"stem": model.stem, "block": model.block, "head": model.head}
    return [(name, layer.get_weights()[0]) for name, layer in named.items() if layer.get_weights()]


def evaluate(model, seed, data_order_seed):
    x, y = data(seed + 1000, 64)
    logits = model.predict(x, verbose=0)
    loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))
    return {"loss": float(loss), "accuracy": 100 * float((logits.argmax(1) == y).mean())}


def by_hand(build_model, seed, data_order_seed):
    model = build_model()
    x, y = data(seed, 96)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
    for part in np.random.default_rng(data_order_seed).permutation(96).reshape(3, 32):
        model.train_on_batch(x[part], y[part])
    return evaluate(model, seed, data_order_seed)
"""
ONLY = ("--only", "net-extra--*", "--only", "net-drop--*")


@pytest.fixture(scope="module", params=["torch", "tensorflow"])
def backend(request: pytest.FixtureRequest) -> str:
    for package in ("sqlalchemy", "pandas", "safetensors", "scipy"):
        if not has(package):
            pytest.skip(f"{package} is not installed for the Python that has Keras")
    return str(request.param)


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory, backend: str) -> Path:
    place = tmp_path_factory.mktemp("keras")
    (place / "net.py").write_text(MODEL)
    words = ("--source", "net.py", "--build", "net.py:build", "--inputs", "net.py:inputs")
    made = run(place, backend, "generate", *words, "--out", "out", "--timeout", "250", "--json")
    assert made.returncode == 0, made.stderr
    return place


def study(folder: Path, backend: str, *words: str) -> dict[str, Any]:
    """The manifest that a study prints."""
    ended = run(folder, backend, "run", "out", *words, "--json", framework=False)
    assert ended.returncode == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


def metrics_of(
    manifest: dict[str, Any], ablated: list[str], **where: str
) -> list[dict[str, float]]:
    wanted = {"role": "run", "protocol": "retrain"} | where
    return [
        run["metrics"]
        for run in sorted(manifest["runs"], key=lambda run: run["seed"])
        if run["ablated"] == ablated and all(run[key] == value for key, value in wanted.items())
    ]


def test_pairs_are_equal_to_the_bit_and_nothing_runs_twice(variants: Path, backend: str) -> None:
    words = ("--experiment", "net.py:fit", "--seeds", "2", "--protocol", "both", *ONLY)
    manifest = study(variants, backend, *words)
    assert not [run["failure"] for run in manifest["runs"] if run["failure"]]
    baseline = metrics_of(manifest, [])
    assert metrics_of(manifest, [], role="repeat") == baseline
    assert metrics_of(manifest, [], role="placebo") != baseline
    assert baseline[0]["loss"] != baseline[1]["loss"]
    cut = metrics_of(manifest, ["net-extra--identity"])
    for one, other in zip(baseline, cut, strict=True):
        shared = [key for key in one if key.startswith("start")]
        assert len(shared) == 3
        assert {key: one[key] for key in shared} == {key: other[key] for key in shared}
        assert one["drawn"] == other["drawn"]
        assert one["loss"] != other["loss"]
    trained = metrics_of(manifest, [], protocol="post-hoc")
    assert [m["loss"] for m in trained] == [m["loss"] for m in baseline]
    dropped = metrics_of(manifest, ["net-drop--identity"], protocol="post-hoc")
    assert [m["loss"] for m in dropped] == [m["loss"] for m in baseline]
    assert "keras" in manifest["versions"]["framework"]
    assert backend in manifest["versions"]["framework"]
    again = study(variants, backend, *words)
    assert {run["key"]: run["seconds"] for run in again["runs"]} == {
        run["key"]: run["seconds"] for run in manifest["runs"]
    }


def test_a_loop_of_ones_own_and_combinations(variants: Path, backend: str) -> None:
    words = ("--experiment", "net.py:by_hand", "--seeds", "2", "--design", "pairwise", *ONLY)
    manifest = study(variants, backend, *words)
    [combination] = manifest["combinations"]
    assert combination["verdict"] == "certified"
    pair = metrics_of(manifest, ["net-drop--identity", "net-extra--identity"])
    assert len(pair) == 2
    assert pair != metrics_of(manifest, ["net-extra--identity"])


def test_the_built_in_classifier_is_for_torch(variants: Path, backend: str) -> None:
    ended = run(variants, backend, "run", "out", "--dataset", "digits", framework=False)
    assert ended.returncode == 2
    assert "--dataset trains PyTorch models, and those of out are of keras" in ended.stderr
