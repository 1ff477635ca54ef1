"""Public names that are imported late are complete in `dir`, which notebooks complete by."""

import subprocess
import sys
from types import ModuleType

import pytest

import antifragile
from antifragile import ablate


@pytest.mark.parametrize("package", [antifragile, ablate])
def test_every_public_name_is_listed_and_found(package: ModuleType) -> None:
    names = set(package.__all__) - {"__version__"}
    assert names <= set(dir(package))
    assert all(getattr(package, name) is not None for name in names)
    assert not [name for name in dir(package) if name.startswith("_") and not name.endswith("__")]
    assert not {"annotations", "import_module", "lazy_names", "TYPE_CHECKING"} & set(dir(package))


def test_listing_names_imports_none_of_them() -> None:
    code = "import sys, antifragile; dir(antifragile); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'antifragile' has no attribute 'perturbed'"):
        _ = antifragile.perturbed
