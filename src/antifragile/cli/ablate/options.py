"""The options of ``antifragile ablate``: what each is called, takes and means, written once.

First those of a model and its variants, then those of a study.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from antifragile.ablate.designs.registry import DesignName

FilesArgument = Annotated[
    list[Path] | None,
    typer.Argument(help="Further source files, as in --source model.py layers.py blocks.py."),
]
SourceOption = Annotated[
    list[Path] | None,
    typer.Option("--source", help="A file of the model; more may follow.", show_default=False),
]
BuildOption = Annotated[
    str | None,
    typer.Option(help="FILE.py:function that returns the model.", show_default=False),
]
InputsOption = Annotated[
    str | None,
    typer.Option(
        help="FILE.py:function that returns the tuple of positional inputs.", show_default=False
    ),
]
StepOption = Annotated[
    str | None,
    typer.Option(
        help="FILE.py:function(model, *inputs) that returns the loss of a training step.",
        show_default=False,
    ),
]
SpecOption = Annotated[
    Path | None,
    typer.Option(help="A TOML file with these options as keys, and [groups].", show_default=False),
]
TemplatesOption = Annotated[
    Path | None,
    typer.Option(help="Folder of further edit templates (*.toml).", show_default=False),
]
TimeoutOption = Annotated[
    float, typer.Option(min=0.1, help="Seconds for each process that runs the model.")
]
MemoryOption = Annotated[
    str, typer.Option(help="Memory for each process that runs the model, as in 512MiB or 4GiB.")
]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, help="Variants certified at a time.", show_default="one per core"),
]
FrameworkOption = Annotated[
    str,
    typer.Option(help="torch, or keras: Keras 3 on the back end that KERAS_BACKEND names."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

FolderArgument = Annotated[
    Path, typer.Argument(help="What 'ablate generate' wrote.", show_default=False)
]
ExperimentOption = Annotated[
    str | None,
    typer.Option(
        help="FILE.py:run, a function run(build_model, seed, data_order_seed) that trains and "
        "returns metrics by name.",
        show_default=False,
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        help="Train a classifier on this data set of ours instead, as in digits.",
        show_default=False,
    ),
]
SeedsOption = Annotated[int, typer.Option(min=1, help="Pairs of runs per variant.")]
FirstSeedOption = Annotated[int, typer.Option(min=0, help="The first of the seeds.")]
ProtocolOption = Annotated[
    Literal["retrain", "post-hoc", "both"],
    typer.Option(help="Cut before training, or cut the trained model (needs evaluate())."),
]
DesignOption = Annotated[DesignName, typer.Option(help="How components are combined.")]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(help="Folders or components, as in 'block-*'; may be repeated."),
]
KindsToRunOption = Annotated[
    str | None, typer.Option(help="Kinds of ablation, as in identity,zero.", show_default="all")
]
AdaptiveOption = Annotated[
    bool, typer.Option("--adaptive", help="Further seeds where the verdict is still open.")
]
MaxSeedsOption = Annotated[
    int | None,
    typer.Option(min=2, help="Of an adaptive study.", show_default="3 times --seeds"),
]
MetricOption = Annotated[
    str | None, typer.Option(help="Which metric is judged.", show_default="the first")
]
DirectionOption = Annotated[
    Literal["higher", "lower"] | None,
    typer.Option(help="Which is better.", show_default="by the metric's name"),
]
AlphaOption = Annotated[float, typer.Option(min=1e-6, max=0.5, help="Level of the verdicts.")]
MarginOption = Annotated[
    float | None,
    typer.Option(
        min=1e-12,
        help="Effects smaller than this are equivalence, in units of the metric.",
        show_default="none declared",
    ),
]
EpochsOption = Annotated[int, typer.Option(min=1, help="With --dataset: passes over it.")]
BatchSizeOption = Annotated[int, typer.Option(min=1, help="With --dataset: samples a step.")]
LearningRateOption = Annotated[float, typer.Option(min=0, help="With --dataset: of AdamW.")]
ManifestOption = Annotated[
    Path | None,
    typer.Option(
        help="Repeat the study of this manifest, or with --only some of its rows, and compare.",
        show_default=False,
    ),
]
NameOption = Annotated[str, typer.Option(help="Of the study in the store.")]
StoreOption = Annotated[
    str | None,
    typer.Option(
        help="File or URL of the store.", show_default="ablation.db in the folder of variants"
    ),
]
RunWorkersOption = Annotated[int, typer.Option(min=1, help="Runs at a time, one thread each.")]
RunTimeoutOption = Annotated[float, typer.Option(min=0.1, help="Seconds for one run.")]
RunMemoryOption = Annotated[str, typer.Option(help="Memory for one run, as in 512MiB.")]
