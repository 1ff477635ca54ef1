"""``antifragile study run``, ``plan`` and ``extend``.

What trains needs torch, and is imported once a verb is called: ``--help`` does not wait for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from antifragile.cli.options import (
    DEFAULT_STORE,
    BudgetOption,
    CheckpointOption,
    DataDirOption,
    DeviceOption,
    EngineOption,
    FilesOption,
    JsonOption,
    MixOption,
    PrecisionOption,
    StoreOption,
    StudyOption,
    WorkersOption,
)

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
    from antifragile.cli.study.live import StudyDisplay
    from antifragile.cli.study.outcome import print_outcome
    from antifragile.study.runner import run_study

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
    from antifragile.cli.study.plan import print_plan
    from antifragile.study.runner import preview_study

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
    from antifragile.cli.study.live import StudyDisplay
    from antifragile.cli.study.outcome import print_outcome
    from antifragile.study.runner import extend_study

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
