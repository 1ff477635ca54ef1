"""Public models, each with the few lines that a user writes to ablate it; see `ablate_wild.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_ENTRY = """import torch
{imports}


def build():
    return {model}


def inputs():
    return {inputs}
"""


@dataclass(frozen=True, kw_only=True)
class Wild:
    """One public model, and the few lines a user writes to try it.

    Args:
        repository: Its place on GitHub.
        files: The files that are copied.
        imports: The line that imports the model.
        model: The expression that builds it.
        inputs: The expression of a tuple of inputs.
    """

    repository: str
    files: tuple[str, ...]
    imports: str
    model: str
    inputs: str

    @property
    def targets(self) -> list[str]:
        """Targets of its files: a lone file goes to the top, a package keeps its folders."""
        return [file if len(self.files) > 1 else Path(file).name for file in self.files]

    @property
    def sources(self) -> list[str]:
        """Targets that may be edited."""
        return [target for target in self.targets if not target.endswith("__init__.py")]

    @property
    def entry(self) -> str:
        """A module with `build` and `inputs`."""
        return _ENTRY.format(imports=self.imports, model=self.model, inputs=self.inputs)


MODELS = (
    Wild(
        repository="karpathy/nanoGPT",
        files=("model.py",),
        imports="from model import GPT, GPTConfig",
        model="GPT(GPTConfig(block_size=32, vocab_size=65, n_layer=4, n_head=4, n_embd=64, "
        "dropout=0.2))",
        inputs="torch.randint(65, (4, 32)), torch.randint(65, (4, 32))",
    ),
    Wild(
        repository="akamaster/pytorch_resnet_cifar10",
        files=("resnet.py",),
        imports="from resnet import resnet20",
        model="resnet20()",
        inputs="(torch.randn(2, 3, 32, 32),)",
    ),
    Wild(
        repository="milesial/Pytorch-UNet",
        files=("unet/__init__.py", "unet/unet_parts.py", "unet/unet_model.py"),
        imports="from unet import UNet",
        model="UNet(n_channels=3, n_classes=2)",
        inputs="(torch.randn(2, 3, 32, 32),)",
    ),
    Wild(
        repository="lucidrains/vit-pytorch",
        files=("vit_pytorch/vit.py",),
        imports="from vit import ViT",
        model="ViT(image_size=32, patch_size=8, num_classes=10, dim=64, depth=4, heads=4, "
        "mlp_dim=128, dim_head=16, dropout=0.1, emb_dropout=0.1)",
        inputs="(torch.randn(2, 3, 32, 32),)",
    ),
    Wild(
        repository="locuslab/TCN",
        files=("TCN/tcn.py",),
        imports="from tcn import TemporalConvNet",
        model="TemporalConvNet(3, [16, 16, 16], kernel_size=3, dropout=0.2)",
        inputs="(torch.randn(2, 3, 64),)",
    ),
)
