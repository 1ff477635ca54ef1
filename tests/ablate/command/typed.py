"""Repositories that nobody prepared, each written as a stranger would, and what is typed there.

A character model with files of settings, Hugging Face's Trainer on a BERT, Lightning with batch
norms, Hydra, a vision transformer of a package, a package started by its name, a single file, a
launcher of processes, a notebook.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.ablate.command.launching import PYTHON

REPOSITORIES = Path(__file__).parent / "repositories"


@dataclass(frozen=True, kw_only=True)
class Typed:
    """What is typed for a repository.

    Args:
        command: The command, after Python.
        metric: Where the metric is.
        model: Class of the model.
        source: Its files.
        arms: Two variants that are run.
        folder: The folder where it is typed.
        options: Further options of ``run``.
        kinds: Kinds that are generated.
        before: Words before Python.
        packages: Modules of optional packages that it imports.
    """

    command: str
    metric: str
    model: str
    source: tuple[str, ...]
    arms: tuple[str, str]
    folder: str = "."
    options: tuple[str, ...] = ()
    kinds: str = "identity,remove-branch"
    before: str = ""
    packages: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The whole command."""
        return f"{self.before} {PYTHON} {self.command}".lstrip()


TYPED = {
    "chargpt": Typed(
        command="train.py config_small.py --out_dir={out} --seed={seed}",
        metric="json:{out}/metrics.json:val_loss",
        model="model.GPT",
        source=("model.py",),
        arms=("block-forward-x-self-attn--remove-branch", "block-ln-1--identity"),
        options=("--reseed",),
    ),
    "bert": Typed(
        command="run.py --seed {seed} --output_dir {out}",
        metric="json:{out}/eval_results.json:eval_loss",
        model="transformers.models.bert.modeling_bert.BertForSequenceClassification",
        source=("transformers/activations.py", "transformers/models/bert/modeling_bert.py"),
        arms=("bertpooler-activation--identity", "bertselfoutput-layernorm--identity"),
        kinds="identity",
        packages=("transformers", "accelerate"),
    ),
    "bn_lightning": Typed(
        command="fit.py --seed {seed} --logs {out}",
        metric="csv:{out}/metrics.csv:val_acc",
        model="__main__.Classifier",
        source=("fit.py", "nets.py"),
        arms=("convnet-bn1--identity", "convnet-forward-x-self-act--remove-branch"),
        packages=("lightning",),
    ),
    "package": Typed(
        command="-m tinynet.train {seed} {out}/log.csv",
        metric="csv:{out}/log.csv:mse",
        model="tinynet.model.Net",
        source=("tinynet/layers.py", "tinynet/model.py"),
        arms=("gated-forward-torch-sigmoid--identity", "net-body-1--identity"),
        folder="src",
    ),
    "one_file": Typed(
        command="experiment.py --seed {seed}",
        metric="regex:accuracy: ([0-9.]+)",
        model="__main__.Model",
        source=("experiment.py",),
        arms=("encoder-norm--identity", "encoder-forward-h-self-mix--remove-branch"),
    ),
    "hydra": Typed(
        command="train.py hydra.run.dir={out} seed={seed} model=residual optimizer.lr=1e-2",
        metric="json:{out}/metrics.json:test.accuracy",
        model="nets.Residual",
        source=("nets.py",),
        arms=("block-norm--identity", "block-forward-x-self-drop--remove-branch"),
        packages=("hydra",),
    ),
    "vit": Typed(
        command="train.py --model vit --seed {seed} --log {out}/log.csv",
        metric="csv:{out}/log.csv:accuracy",
        model="transformers.models.vit.modeling_vit.ViTForImageClassification",
        source=("transformers/activations.py", "transformers/models/vit/modeling_vit.py"),
        arms=(
            "vitattention-forward-heads--drop-head-0",
            "vitlayer-forward-hidden-states-residual-2--remove-branch",
        ),
        kinds="remove-branch,drop-head",
        packages=("transformers",),
    ),
    "torchrun": Typed(
        command="-m torch.distributed.run --standalone --nproc-per-node 1 train.py --seed {seed} "
        "--out {out}",
        metric="json:{out}/result.json:accuracy",
        model="model.Net",
        source=("model.py",),
        arms=("mixer-norm--identity", "mixer-forward-x-self-columns--remove-branch"),
    ),
    "notebook": Typed(
        before="env SEED={seed}",
        command="-m nbconvert --to notebook --execute digits.ipynb --output-dir {out}",
        metric="json:result.json:accuracy",
        model="nets.Net",
        source=("nets.py",),
        arms=("block-norm--identity", "block-forward-x-self-act--remove-branch"),
        packages=("nbconvert", "ipykernel"),
    ),
}
