"""Variants made by replacing text, to try certification without discovery and generation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from antifragile.ablate.certify.certificate import certify
from antifragile.ablate.records import AblationKind, Certificate, Variant
from antifragile.ablate.sandbox.server import Server
from antifragile.ablate.source.project import load_project

INPUTS = "import torch\n\ndef inputs():\n    return (torch.randn(4, 8),)\n"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One replacement in the model's text, and what it promises."""

    old: str
    new: str
    kind: AblationKind = AblationKind.IDENTITY
    cut_parameters: tuple[str, ...] = ()
    parameter_delta: int = 0
    refusal: str | None = None


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A folder to work in and a server that runs."""

    folder: Path
    server: Server
    entries: dict[str, str] = field(default_factory=dict)

    def certify(
        self, model: str, *cuts: Cut, inputs: str = INPUTS, cold_imports: int = 0
    ) -> list[Certificate]:
        """Certificates of the cuts, each made alone in the model's text."""
        texts = {"model.py": model, "data.py": inputs}
        source = self._write("source", texts)
        step = "model.py:step" if "def step(" in model else None
        project = load_project([source / "model.py"], "model.py:build", "data.py:inputs", step)
        out = self.folder / "out"
        self._write("out/baseline", texts)
        variants = []
        for number, cut in enumerate(cuts):
            assert cut.old in model + inputs
            edited = {name: text.replace(cut.old, cut.new, 1) for name, text in texts.items()}
            self._write(f"out/v{number}", edited)
            changed = tuple(name for name in texts if texts[name] != edited[name])
            variants.append(_variant(number, cut, changed))
        return list(certify(project, out, variants, server=self.server, cold_imports=cold_imports))

    def certify_one(self, model: str, old: str, new: str, **promises: Any) -> Certificate:
        """The certificate of one cut."""
        inputs = promises.pop("inputs", INPUTS)
        [certificate] = self.certify(model, Cut(old=old, new=new, **promises), inputs=inputs)
        return certificate

    def _write(self, name: str, texts: dict[str, str]) -> Path:
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            (place / file).write_text(text)
        return place


def _variant(number: int, cut: Cut, edited: tuple[str, ...]) -> Variant:
    return Variant(
        component=f"component {number}",
        kind=cut.kind,
        folder=f"v{number}",
        edited=edited,
        cut_parameters=cut.cut_parameters,
        parameter_delta=cut.parameter_delta,
        refusal=cut.refusal,
    )
