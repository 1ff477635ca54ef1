"""``antifragile ablate discover`` and ``generate``: the components of a model, and its variants.

`discover` lists the components, `generate` writes and certifies one small variant of the source per
component and kind. `cli.ablate.run` runs a study of them and `cli.ablate.report` shows it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from antifragile._fitted import FittedRows
from antifragile._shown import visible
from antifragile.ablate.certify.certificate import CertificateListener
from antifragile.ablate.pipeline import Ablations
from antifragile.ablate.records import (
    AblationKind,
    Certificate,
    CertificateVerdict,
    Component,
    Variant,
)
from antifragile.ablate.verbs import find_planned, make_planned
from antifragile.cli.ablate.options import ModelFlags, SandboxFlags
from antifragile.cli.console import print_json, stderr, stdout
from antifragile.cli.options import JsonOption


def discover(*, model: ModelFlags, sandbox: SandboxFlags, as_json: JsonOption = False) -> None:
    """List the components of a model: where they are, whether they ran, how they can be cut."""
    plan = find_planned(model, sandbox, said=_say)
    if as_json:
        print_json(_plain_components(plan.components))
    else:
        _print_components(plan.components)
        if model.spec is not None:
            spec = shlex.quote(str(model.spec))
            _say(f"next: antifragile ablate generate --spec {spec} --out variants")


def generate(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the variants; new, empty or ours.")],
    model: ModelFlags,
    kinds: Annotated[
        str | None,
        typer.Option(
            help="Kinds of ablation, as in identity,zero.", show_default="what fits each component"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, help="Variants certified at a time.", show_default="one per core"
        ),
    ] = None,
    sandbox: SandboxFlags,
    as_json: JsonOption = False,
) -> None:
    """Write one variant of the source per component and kind, and certify each."""
    made = make_planned(
        out,
        model,
        sandbox,
        kinds=kinds,
        workers=workers,
        listener=None if as_json else _say_progress(),
        said=_say,
    )
    if as_json:
        print_json(_plain(made))
    else:
        _print_variants(made)
        if made.command:
            metric = "'json:{out}/metrics.json:NAME' --direction lower"
            folder = shlex.quote(str(out))
            _say(f"next: antifragile ablate run {folder} --metric {metric} --dry-run")


def _say(sentence: str) -> None:
    stderr().print(sentence, soft_wrap=True)


def _say_progress() -> CertificateListener:
    """A listener that rewrites one line on a terminal and is silent elsewhere."""
    console, done = stderr(), 0

    def listen(variant: Variant, certificate: Certificate) -> None:
        nonlocal done
        done += 1
        if console.is_terminal:
            line = f"{done} judged, last {variant.component} {variant.kind}"
            console.print(line[: console.width - 1].ljust(console.width - 1), end="\r")

    return listen


def _plain(made: Ablations) -> dict[str, Any]:
    pairs = zip(made.variants, made.certificates, strict=True)
    return {
        **_plain_components(made.components),
        "variants": [_variant(variant, certificate) for variant, certificate in pairs],
    }


def _plain_components(components: tuple[Component, ...]) -> dict[str, Any]:
    return {
        "components": [_component(item) for item in components if not item.is_left_out],
        "left_out": [_component(item) for item in components if item.is_left_out],
    }


def _component(item: Component) -> dict[str, Any]:
    return {
        "name": item.name,
        "kind": item.kind.value,
        "span": _span(item),
        "ran": item.ran,
        "calls": item.calls,
        "parameters": item.parameters,
        "kinds": [kind.value for kind in item.kinds],
        "removes": {kind.value: operand for kind, operand in item.removes.items()},
        "reason": item.reason,
    }


def _variant(variant: Variant, certificate: Certificate) -> dict[str, Any]:
    return {
        "component": variant.component,
        "kind": variant.kind.value,
        "removes": variant.removes,
        "options": variant.options,
        "substitute": variant.substitute,
        "status": certificate.verdict.value,
        "reason": certificate.reason,
        "diff_lines": variant.diff_lines,
        "parameter_delta": certificate.parameter_delta,
        "seconds": round(certificate.seconds, 3),
        "folder": variant.folder,
    }


def _span(item: Component) -> str:
    span = item.span
    return f"{span.file}:{span.start_line}:{span.start_column}-{span.end_line}:{span.end_column}"


def _kind(kind: AblationKind, removes: str | None, *options: str) -> str:
    """A kind in words: with its options, and the operand that goes."""
    return " ".join([kind.value, *options, *([f"({removes})"] if removes else [])])


def _not(item: Component) -> str:
    return f"not: {item.reason}"


def _in_package(file: str) -> str:
    """A file's path, of an installed package from the package on."""
    return re.split(r"(?:site|dist)-packages/", file)[-1]


def _print_components(components: tuple[Component, ...]) -> None:
    listed = [item for item in components if not item.is_left_out]
    rows = [
        (
            item.name,
            f"{_in_package(item.span.file)}:{item.span.start_line}",
            item.kind.value,
            str(item.calls) if item.ran else "never",
            f"{item.parameters:,}" if item.parameters else "",
            ", ".join(_kind(k, item.removes.get(k)) for k in item.kinds) or _not(item),
        )
        for item in listed
    ]
    names = ("component", "where", "kind", "calls", "parameters", "can be cut by")
    stdout().print(_fitted(names, rows, numbers=("calls", "parameters")))
    ran = sum(item.ran for item in listed)
    stdout().print(f"{len(listed)} components, {ran} of them ran.")
    _print_left_out(components)


def _fitted(
    names: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str]
) -> FittedRows:
    """Rows for the terminal; names and reasons of the user's code show their control characters."""
    return FittedRows(
        names=names,
        is_text=[name not in numbers for name in names],
        rows=[[visible(cell, one_line=True) for cell in row] for row in rows],
    )


def _print_left_out(components: tuple[Component, ...]) -> None:
    """Print what is no component of its own, with the reasons."""
    for item in components:
        if item.is_left_out:
            line = f"left out: {item.name} ({item.reason})"
            stdout().print(line, soft_wrap=True)


def _print_variants(made: Ablations) -> None:
    """Print the variants by their folders, which ``ablate run --only`` takes."""
    rows = []
    for variant, certificate in zip(made.variants, made.certificates, strict=True):
        kind = _kind(variant.kind, variant.removes, *variant.options.values())
        is_plain = certificate.verdict is CertificateVerdict.CERTIFIED
        rows.append(
            (
                variant.folder or f"{variant.component} {kind}",
                certificate.verdict.value,
                str(variant.diff_lines) if variant.folder else "",
                f"{certificate.parameter_delta:+,}" if variant.folder else "",
                variant.substitute or "" if is_plain else certificate.reason,
            )
        )
    names = ("variant", "status", "diff lines", "parameters", "note")
    stdout().print(_fitted(names, rows, numbers=("diff lines", "parameters")))
    stdout().print(_summary(made), soft_wrap=True)
    _print_left_out(made.components)


def _summary(made: Ablations) -> str:
    verdicts = [certificate.verdict.value for certificate in made.certificates]
    counts = ", ".join(f"{verdicts.count(word)} {word}" for word in dict.fromkeys(verdicts))
    n_components = sum(not item.is_left_out for item in made.components)
    return f"{len(verdicts)} variants of {n_components} components: {counts or 'none'}."
