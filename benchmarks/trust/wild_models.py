"""Public models, each with the few lines that a user writes to ablate it; see `ablate_wild.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Wild:
    """One public model, and the few lines a user writes to try it."""

    repository: str
    files: tuple[str, ...]  # copied
    sources: tuple[str, ...]  # may be edited
    entry: str


MODELS = (
    Wild(
        repository="karpathy/nanoGPT",
        files=("model.py",),
        sources=("model.py",),
        entry="""
import torch
from model import GPT, GPTConfig


def build():
    return GPT(GPTConfig(block_size=32, vocab_size=65, n_layer=4, n_head=4, n_embd=64, dropout=0.2))


def inputs():
    return torch.randint(65, (4, 32)), torch.randint(65, (4, 32))
""",
    ),
    Wild(
        repository="akamaster/pytorch_resnet_cifar10",
        files=("resnet.py",),
        sources=("resnet.py",),
        entry="""
import torch
from resnet import resnet20


def build():
    return resnet20()


def inputs():
    return (torch.randn(2, 3, 32, 32),)
""",
    ),
    Wild(
        repository="milesial/Pytorch-UNet",
        files=("unet/__init__.py", "unet/unet_parts.py", "unet/unet_model.py"),
        sources=("unet/unet_parts.py", "unet/unet_model.py"),
        entry="""
import torch
from unet import UNet


def build():
    return UNet(n_channels=3, n_classes=2)


def inputs():
    return (torch.randn(2, 3, 32, 32),)
""",
    ),
    Wild(
        repository="lucidrains/vit-pytorch",
        files=("vit_pytorch/vit.py",),
        sources=("vit.py",),
        entry="""
import torch
from vit import ViT


def build():
    return ViT(image_size=32, patch_size=8, num_classes=10, dim=64, depth=4, heads=4, mlp_dim=128,
               dim_head=16, dropout=0.1, emb_dropout=0.1)


def inputs():
    return (torch.randn(2, 3, 32, 32),)
""",
    ),
    Wild(
        repository="locuslab/TCN",
        files=("TCN/tcn.py",),
        sources=("tcn.py",),
        entry="""
import torch
from tcn import TemporalConvNet


def build():
    return TemporalConvNet(3, [16, 16, 16], kernel_size=3, dropout=0.2)


def inputs():
    return (torch.randn(2, 3, 64),)
""",
    ),
)
