"""An encoder and a decoder over three files."""

from .net import Net as Net
