"""The smoke study on real MNIST: every record is there, and the paper's decay is a placebo."""

from pathlib import Path

import pytest

from antifragile.analysis.frames import meta_loops_frame
from antifragile.config.specs.study import StudySpec
from antifragile.study.runner import run_study

SPEC = Path(__file__).parents[2] / "studies" / "smoke.toml"


@pytest.mark.parametrize(
    "engine", ["fleet", pytest.param("plain", marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_smoke_study_on_mnist(engine: str, mnist_dir: Path, tmp_path: Path) -> None:
    outcome = run_study(SPEC, store=str(tmp_path / "s.db"), data_dir=mnist_dir, engine=engine)
    spec = StudySpec.from_toml(SPEC)
    frame = meta_loops_frame(outcome.store, outcome.study)
    assert len(frame) == len(spec.architectures) * len(spec.modes) * spec.trials * spec.meta_loops
    assert frame.validation_correct.between(0, 10_000).all()

    places = ["architecture", "trial", "meta_loop"]
    measured = ["validation_correct", "bounty", "promoted", "train_loss"]
    none, decay = (
        frame[frame["mode"] == mode].set_index(places)[measured] for mode in ("none", "decay")
    )
    assert none.equals(decay)
    files = sorted(outcome.files.glob("*_none_*.safetensors"))
    assert len(files) == 4
    for path in files:
        assert tensors(path) == tensors(path.with_name(path.name.replace("_none_", "_decay_")))


def tensors(path: Path) -> dict[str, bytes]:
    from safetensors.torch import load_file

    return {name: value.numpy().tobytes() for name, value in load_file(path).items()}
