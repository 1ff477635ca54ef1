"""Templates of edits, read from TOML files: the calls that each matches and the code it writes.

Each framework has its templates in its folder; those of a user's own folder come first, so that a
new architecture needs no change of code.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from antifragile._data_files import read_toml
from antifragile.ablate.frameworks.registry import DEFAULT_FRAMEWORK, framework_named
from antifragile.ablate.records import AblationKind, ComponentKind
from antifragile.errors import SpecError, nearest

SHAPES = ("same", "masked", "exposed", "resized", "pooled", "reduced", "any")


@dataclass(frozen=True, kw_only=True)
class Template:
    """One way to write an ablation; the fields are explained in `functional.toml` of torch."""

    component: ComponentKind
    ablation: AblationKind
    match: tuple[str, ...]
    replacement: str
    shapes: str = "any"
    substitute: str | None = None
    helper: str | None = None
    arity: int | None = None  # for modules: applies only to calls with this number of arguments
    keep: bool = True  # for modules: whether the parameters stay
    of_tuple: bool = False  # for modules: only the first item of the tuple that it returns changes
    dead: bool = False
    bypass: str | None = None  # the operand that is passed on; the first when None
    arguments: tuple[str, ...] = ()  # names of positional arguments
    defaults: Mapping[str, str] = field(default_factory=dict)
    before: str = ""  # an example: an expression that it fits ...
    after: str = ""  # ... and the expression that it writes there
    file: str = ""

    def fits(self, kind: ComponentKind, ablation: AblationKind, name: str) -> bool:
        """Whether it is meant for a component of this kind and name."""
        return (
            self.component is kind
            and self.ablation is ablation
            and any(fnmatchcase(name, pattern) for pattern in self.match)
        )


def load_templates(
    folder: Path | None = None, framework: str = DEFAULT_FRAMEWORK
) -> tuple[Template, ...]:
    """Read the user's templates, then those of the package.

    Args:
        folder: A folder with the user's `*.toml` files.
        framework: The framework whose templates of the package are read.

    Raises:
        SpecError: The folder is missing, or a file in it is no template.
    """
    if folder is not None and not folder.is_dir():
        raise SpecError(f"no such folder of templates: {folder}. Expected *.toml files in it.")
    built_in = framework_named(framework).templates
    folders = [built_in] if folder is None else [folder, built_in]
    files = [file for place in folders for file in sorted(place.glob("*.toml"))]
    return tuple(template for file in files for template in read_templates(file))


def read_templates(file: Path) -> Iterator[Template]:
    """Yield the templates of one file."""
    try:
        tables = read_toml(file).get("template", [])
    except ValueError as error:
        raise SpecError(f"{file}: {error}. Expected TOML with [[template]] tables.") from error
    for place, table in enumerate(tables, start=1):
        yield read_template(file, place, table)


def read_template(file: Path, place: int, table: Mapping[str, Any]) -> Template:
    """Read one table as a template.

    Raises:
        SpecError: A field is unknown, missing or wrong.
    """
    known = {item.name for item in fields(Template)} - {"file"}
    where = f"{file}, template {place}"
    for name in table:
        if name not in known:
            raise SpecError(f"{where}: unknown field {name!r}; {nearest(name, known)}")
    for name in ("component", "ablation", "match", "replacement"):
        if name not in table:
            raise SpecError(f"{where}: the field {name!r} is missing.")
    values = dict(table) | {"file": file.name}
    try:
        values["component"] = ComponentKind(values["component"])
        values["ablation"] = AblationKind(values["ablation"])
    except ValueError as error:
        raise SpecError(f"{where}: {error}.") from error
    if values.get("shapes", "any") not in SHAPES:
        raise SpecError(
            f"{where}: shapes {values['shapes']!r}; {nearest(values['shapes'], SHAPES)}"
        )
    values["match"] = tuple(values["match"])
    values["arguments"] = tuple(values.get("arguments", ()))
    return Template(**values)


def function_patterns(templates: Sequence[Template]) -> tuple[str, ...]:
    """Return the patterns of the functions that some template names; "*" alone names none."""
    functional = [item for item in templates if item.component is ComponentKind.FUNCTIONAL]
    patterns = [pattern for item in functional if item.match != ("*",) for pattern in item.match]
    return tuple(dict.fromkeys(patterns))


def fill(text: str, values: Mapping[str, str], *, where: str = "") -> str:
    """Fill the placeholders of a template; other braces stay as they are.

    Raises:
        SpecError: A placeholder is unknown.
    """
    out = []
    for literal, name, _, _ in string.Formatter().parse(text):
        out.append(literal)
        if name is None:
            continue
        if name not in values:
            raise SpecError(
                f"template {where}: unknown placeholder {{{name}}}; {nearest(name, values)}"
            )
        out.append(values[name])
    return "".join(out)


@dataclass(frozen=True, kw_only=True)
class FilledTemplate:
    """A template with the new expression and the helper code (or "") that it writes somewhere.

    `substitute` says in words what stands there now.
    """

    template: Template
    text: str
    helper: str
    substitute: str | None


def fill_template(template: Template, values: Mapping[str, str]) -> FilledTemplate:
    """Fill the placeholders of a template's replacement, helper and substitute."""
    helper = fill((template.helper or "").strip("\n"), values, where=template.file)
    text = fill(template.replacement, values, where=template.file)
    words = fill(template.substitute or "", values, where=template.file) or None
    return FilledTemplate(template=template, text=text, helper=helper, substitute=words)
