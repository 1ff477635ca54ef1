"""Trainers that are not installed: nothing of them is imported, and the message names the extra."""

from __future__ import annotations

import subprocess
import sys

import pytest

from antifragile.errors import MissingExtraError
from antifragile.integrations.callback import FrustrationCallback
from antifragile.integrations.huggingface import HuggingFaceFrustration
from antifragile.integrations.lightning import LightningFrustration


def test_importing_the_callbacks_imports_no_trainer() -> None:
    code = (
        "import sys\n"
        "from antifragile.integrations import huggingface, lightning\n"
        "print([n for n in ('lightning', 'transformers', 'accelerate') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("kind", "package", "extra"),
    [
        (LightningFrustration, "lightning.pytorch", "lightning"),
        (HuggingFaceFrustration, "transformers", "huggingface"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, kind: type[FrustrationCallback], package: str, extra: str
) -> None:
    monkeypatch.setattr("antifragile.integrations.joined._JOINED", {})
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as error:
        kind("accuracy")
    assert str(error.value) == (
        f"the callback {kind.__name__} needs the package {package!r}, which is not installed; "
        f"run: pip install 'antifragile[{extra}]'"
    )
