"""``antifragile study export``: records and trials of a store, for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer

from antifragile._files import write_output
from antifragile._optional import require
from antifragile.analysis.csv_files import guarded_frame
from antifragile.analysis.frames import meta_loops_frame, meta_loops_frames, trials_frame
from antifragile.analysis.source import open_source
from antifragile.cli.console import stderr
from antifragile.cli.options import DEFAULT_STORE, StoreOption, StudyOption
from antifragile.errors import UsageError
from antifragile.report.trackers.mlflow import export_mlflow
from antifragile.report.trackers.tensorboard import export_tensorboard
from antifragile.store.records import StoredStudy
from antifragile.store.store import Store

ExportFormat = Literal["csv", "parquet", "json", "tensorboard", "mlflow"]
ExportTable = Literal["meta_loops", "trials"]


def export(
    store: StoreOption = DEFAULT_STORE,
    study: StudyOption = None,
    table: Annotated[
        ExportTable | None,
        typer.Option(help="Rows of a file.", show_default="meta_loops"),
    ] = None,
    format_: Annotated[
        ExportFormat,
        typer.Option("--format", help="A file; or a folder with one run per trial for a tracker."),
    ] = "csv",
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write; a new folder for tensorboard and mlflow.",
            show_default="standard output",
        ),
    ] = None,
) -> None:
    """Write every stored record (meta_loops) or every finished trial (trials), or all as runs."""
    if format_ in ("tensorboard", "mlflow"):
        _export_runs(store, study, table, format_, out)
        return

    if out is None and format_ == "parquet":
        raise UsageError("parquet is not text; name a file with --out.")
    with Store(store, create=False) as opened:
        content = _encoded(opened, opened.study(study), table or "meta_loops", format_)
        if out is not None:
            write_output(out, content)
            stderr().print(f"wrote {out}", markup=False)
        else:
            for part in content:
                print(part.decode(), end="")


def _export_runs(
    store: str,
    study: str | None,
    table: ExportTable | None,
    format_: ExportFormat,
    out: Path | None,
) -> None:
    if table is not None:
        raise UsageError(f"--table chooses the rows of a file; {format_} runs hold all of them.")
    if out is None:
        raise UsageError(f"{format_} is a folder of runs; name a new one with --out.")

    write = export_mlflow if format_ == "mlflow" else export_tensorboard
    n_runs = write(open_source(store, study=study), out)
    stderr().print(f"wrote {n_runs:,} runs into {out}", markup=False)


def _encoded(
    store: Store, study: StoredStudy, table: ExportTable, format_: ExportFormat
) -> Iterator[bytes]:
    """Yield a file in parts; of a table of records a part is read when it is its turn."""
    if table == "trials":
        frames = iter([trials_frame(store, study)])
    elif format_ == "parquet":
        frames = iter([meta_loops_frame(store, study)])
    else:
        frames = meta_loops_frames(store, study)
    if format_ == "csv":
        for number, frame in enumerate(frames):
            yield guarded_frame(frame).to_csv(index=False, header=not number).encode()
    elif format_ == "json":
        yield from _json_array(frames)
    else:
        yield _parquet(next(frames))


def _json_array(frames: Iterator[pd.DataFrame]) -> Iterator[bytes]:
    """Yield one array of objects, as pandas writes it, over several frames."""
    before = "["
    for frame in frames:
        text = frame.to_json(orient="records", double_precision=15, indent=1)
        if len(frame):
            yield f"{before}{text[1:-2]}".encode()
            before = ","
    yield b"[]\n" if before == "[" else b"\n]\n"


def _parquet(frame: pd.DataFrame) -> bytes:
    require("pyarrow", extra="parquet", purpose="parquet export")
    content = frame.to_parquet(None, index=False)
    assert isinstance(content, bytes)
    return content
