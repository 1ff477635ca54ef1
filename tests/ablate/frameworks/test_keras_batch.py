"""The mean of a Keras layer is that of each sample: alone or in a batch, the output is the same."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.ablate.frameworks.test_keras import PYTHON, generated

RUN_ALONE = """
import importlib.util, json, sys
import keras
import numpy as np

found = {}
for folder in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("found", folder + "/recurrent.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    keras.utils.set_random_seed(1)
    model = module.build()
    [x] = module.inputs()
    outputs = [keras.ops.convert_to_numpy(model(part, training=False)) for part in (x, x[2:3])]
    found[folder] = [float(outputs[0][2, 0]), float(outputs[1][0, 0])]
print(json.dumps(found))
"""


def together_and_alone(out: Path, backend: str) -> dict[str, list[float]]:
    """The output for one sample among others, and alone: of the baseline and of each mean."""
    folders = ["baseline", *(folder.name for folder in sorted(out.glob("*--mean")))]
    ended = subprocess.run(
        [PYTHON, "-c", RUN_ALONE, *folders],
        cwd=out,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, list[float]] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_a_mean_is_that_of_one_sample(tmp_path: Path, backend: str) -> None:
    said = generated(tmp_path, "recurrent", backend, "--kinds", "mean", without=", mask_zero=True")
    assert [item["status"] for item in said["variants"]] == ["certified"] * 4 + ["refused"]
    [last] = [item for item in said["variants"] if item["status"] == "refused"]
    assert last["reason"] == "it is one number for each sample: its mean is itself"
    found = together_and_alone(tmp_path / "out", backend)
    _, before = found.pop("baseline")
    assert len(found) == 4
    for together, single in found.values():
        assert single == pytest.approx(together, abs=1e-6)
        assert abs(single - before) > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_a_mean_never_counts_padding(tmp_path: Path, backend: str) -> None:
    said = generated(tmp_path, "recurrent", backend, "--kinds", "mean")
    assert [item["status"] for item in said["variants"]] == [
        *["refused"] * 3,  # the layers in front of the last recurrent one hand the mask on
        "certified",
        "refused",
    ]
    reasons = {item["reason"] for item in said["variants"][:3]}
    assert reasons == {"a mask hides some of its positions: its mean would count the padding"}
