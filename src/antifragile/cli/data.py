"""``antifragile data``: the list of data sets, and the contents of one."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from antifragile.cli.console import stdout
from antifragile.cli.options import DataDirOption, JsonOption
from antifragile.config.specs.training import Normalization
from antifragile.data.datasets import dataset_sources, load_dataset
from antifragile.data.files import Access
from antifragile.data.source import DatasetSource
from antifragile.data.splits import Dataset
from antifragile.errors import DataError, WorldError


def print_info(
    name: Annotated[str, typer.Argument(help="A registered name, or npz:PATH.")],
    data_dir: DataDirOption = None,
    normalization: Annotated[
        Normalization, typer.Option(help="How values become inputs.")
    ] = Normalization.STANDARDIZE,
    download: Annotated[bool, typer.Option(help="Download what is missing.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show split sizes, class counts, ZeroR, input size and normalization of a data set."""
    dataset = load_dataset(
        name, data_dir=data_dir, normalization=normalization, download=download, progress=True
    )
    if as_json:
        typer.echo(json.dumps(describe(dataset)))
    else:
        _print_dataset(stdout(), dataset)


def print_list(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """List the registered data sets and whether their files are here."""
    access = Access(data_dir=data_dir)
    access.places()  # a data_dir that is a file is the user's mistake, not a corrupted data set
    rows = [(source, _presence(source, access)) for source in dataset_sources()]
    if as_json:
        listed = [{"name": s.name, "summary": s.summary, "files": state} for s, state in rows]
        typer.echo(json.dumps(listed))
        return
    table = Table("name", "files", "what it is", box=None)
    for source, state in rows:
        table.add_row(source.name, state, source.summary)
    table.add_row("npz:PATH", "yours", "your own arrays: images and labels, or a pair per split")
    stdout().print(table)


def describe(dataset: Dataset) -> dict[str, Any]:
    """Plain values about a data set; accuracies as counts and in percent."""
    return {
        "name": dataset.name,
        "description": dataset.description,
        "n_inputs": dataset.n_inputs,
        "n_classes": dataset.n_classes,
        "normalization": str(dataset.normalization),
        "mean": dataset.mean,
        "sd": dataset.sd,
        "splits": {
            which: {
                "n_samples": split.n_samples,
                "class_counts": list(split.class_counts)
                + [0] * (dataset.n_classes - len(split.class_counts)),
                "zero_r_correct": split.zero_r_correct,
                "zero_r": round(split.zero_r, 2),
            }
            for which, split in dataset.splits()
        },
    }


def _print_dataset(console: Console, dataset: Dataset) -> None:
    about = describe(dataset)
    console.print(f"{dataset.name}: {dataset.description}")
    console.print(
        f"{dataset.n_inputs} inputs, {dataset.n_classes} classes; {dataset.normalization}: "
        f"(unit values - {dataset.mean:.4g}) / {dataset.sd:.4g}",
        highlight=False,
    )
    table = Table("split", box=None)
    table.add_column("samples", justify="right")
    table.add_column("ZeroR", justify="right")
    table.add_column("correct", justify="right")
    table.add_column("samples of each class")
    for which, split in about["splits"].items():
        table.add_row(
            which,
            f"{split['n_samples']:,}",
            f"{split['zero_r']:.2f} %",
            f"{split['zero_r_correct']:,}",
            " ".join(map(str, split["class_counts"])),
        )
    console.print(table)


def _presence(source: DatasetSource, access: Access) -> str:
    try:
        return "here" if source.is_present(access) else "to be downloaded"
    except DataError:
        return "corrupted"
    except WorldError:
        return "unreadable"
