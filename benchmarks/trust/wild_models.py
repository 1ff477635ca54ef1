"""Public models, each with the few lines that a user writes to ablate it; see `ablate_wild.py`.

Some are cloned from GitHub, others come out of installed packages; nobody prepared any of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

_ENTRY = """import torch
{imports}


def build():
    return {model}


def inputs():
    return {inputs}
"""
_RELATIVE = re.compile(r"^from (\.+)([\w.]*) import", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Wild:
    """One public model, and the few lines a user writes to try it.

    Args:
        files: The files that are copied, relative to the clone or to where packages are installed.
        imports: The lines that import the model.
        model: The expression that builds it.
        inputs: The expression of a tuple of inputs.
        repository: Its place on GitHub, or "" where it comes out of a package.
        package: The name of the package that installs it, or "".
    """

    files: tuple[str, ...]
    imports: str
    model: str
    inputs: str
    repository: str = ""
    package: str = ""

    @property
    def name(self) -> str:
        """Its repository; or its file, and the version of the package that is installed."""
        package = f"{self.package} {self.installed_version or '(not installed)'}"
        return self.repository or f"{PurePosixPath(self.files[0]).stem} of {package}"

    @property
    def folder(self) -> str:
        """A name for its folder; several models may come out of one package."""
        package = f"{self.package}+{PurePosixPath(self.files[0]).stem}"
        return self.repository.replace("/", "+") or package

    @property
    def installed_version(self) -> str | None:
        """The version of its package, None where it is not installed."""
        try:
            return version(self.package) if self.package else None
        except PackageNotFoundError:
            return None

    @property
    def targets(self) -> list[str]:
        """Targets of its files: a lone file goes to the top, a clone's package keeps its folders.

        A file out of a package gets a name of its own: the rest of its package is still imported.
        """
        if self.package:
            return [f"{PurePosixPath(file).stem}_.py" for file in self.files]
        return [file if len(self.files) > 1 else Path(file).name for file in self.files]

    @property
    def sources(self) -> list[str]:
        """Targets that may be edited."""
        return [target for target in self.targets if not target.endswith("__init__.py")]

    @property
    def entry(self) -> str:
        """A module with `build` and `inputs`."""
        return _ENTRY.format(imports=self.imports, model=self.model, inputs=self.inputs)

    def root(self, checkouts: Path | None) -> Path | None:
        """The folder that its files lie in, or None where they are not on this machine.

        Args:
            checkouts: Clones, each in a folder named owner+repository or repository.
        """
        if self.package:
            return None if self.installed_version is None else installed_in(self.files[0])
        owner, name = self.repository.split("/")
        places = (f"{owner}+{name}", f"{owner}/{name}", name) if checkouts else ()
        return next((checkouts / p for p in places if checkouts and (checkouts / p).is_dir()), None)

    def write(self, root: Path, folder: Path) -> None:
        """Write copies of its files and `trial.py` into a folder."""
        for file, target in zip(self.files, self.targets, strict=True):
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            text = (root / file).read_bytes()
            if self.package:
                text = with_absolute_imports(text.decode(), file).encode()
            (folder / target).write_bytes(text)
        (folder / "trial.py").write_text(self.entry)


def installed_in(file: str) -> Path | None:
    """Return the folder that holds an installed file, found by its top package, not imported."""
    spec = find_spec(PurePosixPath(file).parts[0].removesuffix(".py"))
    if spec is None:
        return None
    if spec.submodule_search_locations:  # some packages have no __init__.py
        return Path(spec.submodule_search_locations[0]).parent
    return Path(spec.origin).parent if spec.origin else None


def with_absolute_imports(text: str, file: str) -> str:
    """Return a module's text that imports the same when it stands outside its package."""
    package = PurePosixPath(file).parts[:-1]

    def absolute(match: re.Match[str]) -> str:
        above = package[: len(package) - len(match[1]) + 1]
        return f"from {'.'.join([*above, *filter(None, [match[2]])])} import"

    return _RELATIVE.sub(absolute, text)


CLONES = (
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

PACKAGES = (
    Wild(
        package="transformers",
        files=("transformers/models/bert/modeling_bert.py",),
        imports="from modeling_bert_ import BertForSequenceClassification\n"
        "from transformers import BertConfig",
        model="BertForSequenceClassification(BertConfig(vocab_size=99, hidden_size=32, "
        "num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, "
        "max_position_embeddings=40))",
        inputs="(torch.randint(1, 99, (4, 12)),)",
    ),
    Wild(
        package="transformers",
        files=("transformers/models/llama/modeling_llama.py",),
        imports="from modeling_llama_ import LlamaForCausalLM\n"
        "from transformers import LlamaConfig",
        model="LlamaForCausalLM(LlamaConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2, "
        "num_attention_heads=4, num_key_value_heads=2, intermediate_size=64, "
        "max_position_embeddings=40, use_cache=False))",
        inputs="(torch.randint(1, 99, (4, 12)),)",
    ),
    Wild(
        package="x-transformers",
        files=("x_transformers/x_transformers.py",),
        imports="from x_transformers_ import Decoder, TransformerWrapper",
        model="TransformerWrapper(num_tokens=99, max_seq_len=32, attn_layers=Decoder(dim=32, "
        "depth=2, heads=4, attn_dim_head=8, ff_glu=True, rotary_pos_emb=True))",
        inputs="(torch.randint(1, 99, (4, 12)),)",
    ),
    Wild(
        package="rtdl-revisiting-models",
        files=("rtdl_revisiting_models.py",),
        imports="from rtdl_revisiting_models_ import FTTransformer",
        model="FTTransformer(n_cont_features=6, cat_cardinalities=[3], d_out=2, n_blocks=2, "
        "d_block=32, attention_n_heads=4, attention_dropout=0.1, ffn_d_hidden_multiplier=2, "
        "ffn_dropout=0.1, residual_dropout=0.0)",
        inputs="(torch.randn(8, 6), torch.randint(3, (8, 1)))",
    ),
    Wild(
        package="monai",
        files=("monai/networks/nets/basic_unet.py",),
        imports="from basic_unet_ import BasicUNet",
        model="BasicUNet(spatial_dims=2, in_channels=1, out_channels=2, "
        "features=(8, 8, 16, 16, 32, 8))",
        inputs="(torch.randn(2, 1, 32, 32),)",
    ),
    Wild(
        package="tabm",
        files=("tabm.py",),
        imports="from tabm_ import TabM",
        model="TabM.make(n_num_features=6, cat_cardinalities=[3, 4], d_out=2, n_blocks=2, "
        "d_block=32, k=8)",
        inputs="(torch.randn(8, 6), torch.stack([torch.randint(3, (8,)), "
        "torch.randint(4, (8,))], 1))",
    ),
    Wild(
        package="pykan",
        files=("kan/KANLayer.py",),
        imports="from KANLayer_ import KANLayer\nfrom torch import nn\n\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.one, self.two = KANLayer(4, 5), KANLayer(5, 2)\n\n"
        "    def forward(self, x):\n"
        "        return self.two(self.one(x)[0])[0]",
        model="Net()",
        inputs="(torch.randn(16, 4),)",
    ),
    Wild(
        package="perceiver-pytorch",
        files=("perceiver_pytorch/perceiver_pytorch.py",),
        imports="from perceiver_pytorch_ import Perceiver",
        model="Perceiver(input_channels=3, input_axis=2, num_freq_bands=4, max_freq=8.0, depth=2, "
        "num_latents=8, latent_dim=32, cross_heads=1, latent_heads=4, cross_dim_head=8, "
        "latent_dim_head=8, num_classes=10, attn_dropout=0.1, ff_dropout=0.1)",
        inputs="(torch.randn(2, 16, 16, 3),)",
    ),
    Wild(
        package="pytorch-tabnet",
        files=("pytorch_tabnet/tab_network.py",),
        imports="from tab_network_ import TabNet",
        model="TabNet(input_dim=8, output_dim=3, n_d=8, n_a=8, n_steps=3, "
        "group_attention_matrix=torch.eye(8))",
        inputs="(torch.randn(16, 8),)",
    ),
    Wild(
        package="mlp-mixer-pytorch",
        files=("mlp_mixer_pytorch/mlp_mixer_pytorch.py",),
        imports="from mlp_mixer_pytorch_ import MLPMixer",
        model="MLPMixer(image_size=32, channels=3, patch_size=8, dim=32, depth=2, num_classes=10)",
        inputs="(torch.randn(2, 3, 32, 32),)",
    ),
    Wild(
        package="egnn-pytorch",
        files=("egnn_pytorch/egnn_pytorch.py",),
        imports="from egnn_pytorch_ import EGNN_Network",
        model="EGNN_Network(num_tokens=21, dim=16, depth=2, num_nearest_neighbors=4)",
        inputs="(torch.randint(21, (2, 10)), torch.randn(2, 10, 3))",
    ),
    Wild(
        package="performer-pytorch",
        files=("performer_pytorch/performer_pytorch.py",),
        imports="from performer_pytorch_ import PerformerLM",
        model="PerformerLM(num_tokens=99, max_seq_len=32, dim=32, depth=2, heads=4, dim_head=8)",
        inputs="(torch.randint(1, 99, (2, 16)),)",
    ),
)
MODELS = CLONES + PACKAGES
