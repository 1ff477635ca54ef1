"""A study small enough to run in every test: two shapes, all modes, the tiny data set."""

from pathlib import Path

import pytest

from antifragile.config.specs.study import StudySpec


@pytest.fixture
def study_spec() -> StudySpec:
    return make_spec()


def make_spec(**changes: object) -> StudySpec:
    return StudySpec.from_mapping(
        {
            "name": "small",
            "dataset": "tiny",
            "architectures": ["1*4", "3*3"],
            "trials": 2,
            "meta_loops": 4,
            "training": {"learning_rate": 0.01, "batch_size": 8, "weight_decay": 0.1},
        }
        | changes
    )


def write_toml(spec: StudySpec, path: Path) -> Path:
    """Write a spec as TOML, which for these plain values is JSON with other brackets."""
    values = spec.to_mapping()
    tables = {key: values.pop(key) for key in ("training", "evaluate")}
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines))
    return path


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if not isinstance(value, str) else f"'{value}'"
