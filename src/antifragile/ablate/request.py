"""Request of a user: a model's files and functions, from the command line or a TOML file.

    command = "python train.py --config small.yaml --seed {seed} --out {out}"
    source = ["resnet.py"]
    build = "made.py:build"
    inputs = "made.py:inputs"
    kinds = ["identity", "remove-branch"]
    templates = "my_templates"
    inputs_as_components = true
    [groups]
    pixels = "x[0:8]"

Paths in a file are relative to the folder it lies in; options of the command line go first.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antifragile._data_files import read_toml
from antifragile._files import write_atomically
from antifragile.ablate.records import AblationKind, Project
from antifragile.ablate.source.project import load_project
from antifragile.errors import SpecError, UsageError, nearest

_LISTS, _FLAGS = ("source", "kinds"), ("inputs_as_components",)
_PLAIN = ("kinds", "groups", "command", *_FLAGS)  # no paths
_KEYS = ("source", "build", "inputs", "step", "templates", *_PLAIN)
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(i?B)?", re.IGNORECASE)
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LEAST_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """Files and functions of a model, and the kinds of ablation that are wanted."""

    source: tuple[Path, ...]
    build: str
    inputs: str | None = None
    step: str | None = None
    kinds: tuple[AblationKind, ...] | None = None
    templates: Path | None = None
    groups: Mapping[str, str] | None = None
    inputs_as_components: bool = False
    command: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ModelRequest:
        """Make a request of the values of a spec file and of the command line, by key.

        Raises:
            SpecError: A key is missing; a kind is unknown.
        """
        for key in ("source", "build", "inputs"):
            if not values.get(key) and not (key == "inputs" and values.get("step")):
                raise SpecError(f"--{key} is missing; give it, or {key} = ... in a --spec file.")
        kinds, templates = values.get("kinds"), values.get("templates")
        return cls(
            source=tuple(Path(path) for path in values["source"]),
            build=values["build"],
            inputs=values.get("inputs"),
            step=values.get("step"),
            kinds=None if kinds is None else tuple(kind_named(word) for word in kinds),
            templates=None if templates is None else Path(templates),
            groups=values.get("groups"),
            inputs_as_components=values.get("inputs_as_components", False),
            command=values.get("command", ""),
        )

    def project(self) -> Project:
        """Read the files; nothing is run.

        Raises:
            SpecError: A file is missing or does not parse, or lacks a function.
        """
        return load_project(self.source, self.build, self.inputs, self.step)


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``512MiB``, ``4G`` or ``1.5 GiB`` (powers of 1024).

    Raises:
        UsageError: It is not a size, or less than a mebibyte.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * 1024 ** _UNITS[match[2].upper()]) if match else 0
    if size < _LEAST_BYTES:
        raise UsageError(f"{text!r} is not a memory size; write it as in 512MiB or 4GiB.")
    return size


def kind_named(word: str) -> AblationKind:
    """Return the kind of ablation of a name.

    Raises:
        SpecError: There is none.
    """
    try:
        return AblationKind(word)
    except ValueError:
        hint = nearest(word, [kind.value for kind in AblationKind])
        raise SpecError(f"unknown kind of ablation {word!r}; {hint}") from None


def read_spec(path: Path) -> dict[str, Any]:
    """Read a spec file; paths in it come out relative to the working directory.

    Raises:
        SpecError: It is not there, or no spec.
    """
    try:
        data = read_toml(path)
    except FileNotFoundError:
        raise SpecError(f"no spec at {path}; give the path of a TOML file.") from None
    except ValueError as error:
        raise SpecError(f"{path} is not valid TOML: {error}.") from error
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}.") from error
    for key, value in data.items():
        _check(path, key, value)
    return _beside(path.parent, data)


def write_spec(path: Path, values: Mapping[str, Any]) -> None:
    """Write a spec file; paths are written relative to the folder it lies in.

    Args:
        path: The file.
        values: Texts and lists of paths by key; a function is ``FILE.py:function``.
    """
    here = path.resolve().parent

    def placed(value: object) -> str:
        return json.dumps(os.path.relpath(Path(str(value)).resolve(), here))

    lines = []
    for key, value in values.items():
        if key in _PLAIN:
            lines.append(f"{key} = {json.dumps(value)}")
        elif isinstance(value, list):
            lines.append(f"{key} = [{', '.join(map(placed, value))}]")
        else:
            lines.append(f"{key} = {placed(value)}")
    write_atomically(path, "\n".join([*lines, ""]).encode())


def _check(path: Path, key: str, value: object) -> None:
    if key not in _KEYS:
        hint = nearest(key, _KEYS)
        raise SpecError(f"{path}: unknown key {key!r}; {hint}")
    is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
    is_table = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    if key in _LISTS and not is_list:
        raise SpecError(f"{path}: {key} must be a list of texts; got {value!r}.")
    if key == "groups" and not is_table:
        raise SpecError(f'{path}: groups must be a table of texts "input[0:8]"; got {value!r}.')
    if key in _FLAGS and not isinstance(value, bool):
        raise SpecError(f"{path}: {key} must be true or false; got {value!r}.")
    if key not in (*_LISTS, *_FLAGS, "groups") and not isinstance(value, str):
        raise SpecError(f"{path}: {key} must be a text; got {value!r}.")


def _beside(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    """Return the values with paths relative to the working directory, not to the file."""

    def placed(key: str, value: Any) -> Any:
        if key == "source":
            return [folder / item for item in value]
        return value if key in _PLAIN else str(folder / value)

    return {key: placed(key, value) for key, value in data.items()}
