"""``antifragile study``: run, extend, look at and export studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from antifragile.analysis.frames import trials_frame
from antifragile.analysis.summary import Measure, summarise
from antifragile.cli.console import plain_table, print_json, stdout
from antifragile.cli.options import (
    DEFAULT_STORE,
    BudgetOption,
    CheckpointOption,
    DataDirOption,
    DeviceOption,
    EngineOption,
    FilesOption,
    JsonOption,
    MeasureOption,
    MixOption,
    PrecisionOption,
    StoreOption,
    StudyOption,
    WorkersOption,
)
from antifragile.cli.study.live import StudyDisplay
from antifragile.cli.study.outcome import print_outcome
from antifragile.cli.study.plan import print_plan
from antifragile.store.records import StoredStudy, TrialStatus
from antifragile.store.store import Store
from antifragile.study.folder import default_files
from antifragile.study.runner import extend_study, preview_study, run_study

ExecutorOption = Annotated[
    str | None,
    typer.Option(
        "--executor",
        help="Executor of the tasks: serial, local, or one that an installed package adds.",
        show_default="serial, or local for several workers",
    ),
]


def run(
    spec: Annotated[Path, typer.Argument(help="A study spec, as in studies/demo.toml.")],
    store: StoreOption = DEFAULT_STORE,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    engine: EngineOption = "fleet",
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "fp32",
    memory_budget: BudgetOption = 8.0,
    data_dir: DataDirOption = None,
    files: FilesOption = None,
    mix_machines: MixOption = False,
    checkpoint_every: CheckpointOption = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Run a study, or go on with it; stop it at any moment and run the same command again."""
    with StudyDisplay() as display:
        outcome = run_study(
            spec,
            store=store,
            workers=workers,
            executor=executor,
            engine=engine,
            device=device,
            precision=precision,
            memory_budget_gib=memory_budget,
            data_dir=data_dir,
            files=files,
            mix_machines=mix_machines,
            checkpoint_every_s=checkpoint_every,
            listener=display,
        )
    with outcome.store:
        print_outcome(outcome, as_json=as_json)


def plan(
    spec: Annotated[Path, typer.Argument(help="A study spec, as in studies/demo.toml.")],
    store: Annotated[
        str | None,
        typer.Option(help="Store whose finished trials count as done.", show_default=False),
    ] = None,
    workers: WorkersOption = None,
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "fp32",
    memory_budget: BudgetOption = 8.0,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how a study would run, with predicted time and memory; nothing is run or written."""
    preview = preview_study(
        spec,
        store=store,
        workers=workers,
        device=device,
        precision=precision,
        memory_budget_gib=memory_budget,
        data_dir=data_dir,
    )
    print_plan(preview, as_json=as_json)


def extend(
    store: StoreOption = DEFAULT_STORE,
    study: StudyOption = None,
    trials: Annotated[
        int | None, typer.Option(help="New total of trials per cell.", show_default=False)
    ] = None,
    meta_loops: Annotated[
        int | None, typer.Option(help="New total of meta-loops per trial.", show_default=False)
    ] = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    engine: EngineOption = "fleet",
    device: DeviceOption = "cpu",
    precision: PrecisionOption = "fp32",
    memory_budget: BudgetOption = 8.0,
    data_dir: DataDirOption = None,
    files: FilesOption = None,
    mix_machines: MixOption = False,
    checkpoint_every: CheckpointOption = 5.0,
    as_json: JsonOption = False,
) -> None:
    """Add trials or meta-loops to a study and run them; nothing finished is run again."""
    with StudyDisplay() as display:
        outcome = extend_study(
            study,
            store=store,
            trials=trials,
            meta_loops=meta_loops,
            workers=workers,
            executor=executor,
            engine=engine,
            device=device,
            precision=precision,
            memory_budget_gib=memory_budget,
            data_dir=data_dir,
            files=files,
            mix_machines=mix_machines,
            checkpoint_every_s=checkpoint_every,
            listener=display,
        )
    with outcome.store:
        print_outcome(outcome, as_json=as_json)


def status(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """Show every study of a store and how far it is."""
    with Store(store, create=False) as opened:
        rows = [_status_row(opened, opened.study(name)) for name in opened.study_names()]
    if as_json:
        print_json(rows)
        return
    table = plain_table()
    for heading in ("study", "data set", "trials", "finished", "started", "meta-loops", "created"):
        table.add_column(heading, justify="left" if heading[0] in "dc" else "right")
    table.columns[0].justify = "left"
    for row in rows:
        table.add_row(
            escape(row["study"]),
            escape(row["dataset"]),
            str(row["trials"]),
            str(row["finished"]),
            str(row["started"]),
            str(row["meta_loops"]),
            row["created_at"],
        )
    stdout().print(table if rows else f"store {opened} has no studies yet.", markup=False)


def summary(
    store: StoreOption = DEFAULT_STORE,
    study: StudyOption = None,
    measure: MeasureOption = "peak",
    as_json: JsonOption = False,
) -> None:
    """Show n, mean, sd (population), min and max of every cell, in percent."""
    with Store(store, create=False) as opened:
        frame = summarise(trials_frame(opened, opened.study(study)), Measure(measure))
    if as_json:
        print_json(frame.to_dict(orient="records"))
        return
    table = plain_table()
    for column in frame.columns:
        table.add_column(column, justify="left" if column in ("architecture", "mode") else "right")
    for row in frame.itertuples(index=False):
        numbers = [f"{value:.2f}" for value in row[3:]]
        table.add_row(row[0], row[1], str(row[2]), *numbers)
    stdout().print(table if len(frame) else "no trial has finished yet.", markup=False)


def _status_row(store: Store, study: StoredStudy) -> dict[str, Any]:
    spec = study.spec
    statuses = [trial.status(spec.meta_loops) for trial in store.trials(spec.name)]
    return {
        "study": spec.name,
        "dataset": spec.dataset,
        "architectures": len(spec.architectures),
        "modes": len(spec.modes),
        "trials": len(statuses),
        "finished": statuses.count(TrialStatus.FINISHED),
        "started": statuses.count(TrialStatus.STARTED),
        "pending": statuses.count(TrialStatus.PENDING),
        "meta_loops": spec.meta_loops,
        "created_at": study.created_at,
        "files": str(default_files(store, spec.name)),
    }
