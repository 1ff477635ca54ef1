"""A private HOME for children, so that nothing that a model caches or logs lands in the user's.

Models and libraries find an empty home with folders for caches, settings and temporary files. What
the user has downloaded before stays readable: where a cache of models or data sets exists in the
real home, its variable names it (HF_HOME, TORCH_HOME, KERAS_HOME, ...), and a variable that the
user has set stays as it is. Writing there is refused (see `confinement`): a model that has to be
downloaded first should be built once by its author. Packages of the user's own site stay in reach.

Passwords, tokens and keys that the user's environment holds are not handed on.
"""

from __future__ import annotations

import os
import re
import site
from collections.abc import Mapping
from pathlib import Path

from antifragile._shown import show_address

_CACHES = {  # variable -> folders of the real home, the first below the cache folder
    "HF_HOME": ".cache/huggingface",
    "TORCH_HOME": ".cache/torch",
    "KERAS_HOME": ".keras",
    "SCIKIT_LEARN_DATA": "scikit_learn_data",
    "NLTK_DATA": "nltk_data",
}
_SECRET_NAME = re.compile(
    r"TOKEN(?!I[SZ])|SECRET|PASSW(OR)?D|PASSPHRASE|PGPASS|CREDENTIAL|ACCESS_?KEY|PRIVATE_?KEY"
    r"|API_?KEY|(^|_)(KEY|PASS|AUTH)$|_PWD$",
    re.IGNORECASE,
)


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out variables whose name says that they are secret, and URLs that hold a secret."""
    return {
        name: value
        for name, value in environment.items()
        if not _SECRET_NAME.search(name) and not ("://" in value and show_address(value) != value)
    }


def private_home(folder: Path) -> dict[str, str]:
    """Make a home in a folder; returns the variables that lead to it.

    Args:
        folder: A scratch folder.
    """
    home, temporary = folder / "home", folder / "tmp"
    for place in (home, temporary):
        place.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "MPLCONFIGDIR": str(home / ".config/matplotlib"),
        "TMPDIR": str(temporary),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def known_caches(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that lead from a private home to what the user has: caches, own packages."""
    real = Path(environment.get("HOME", Path.home()))
    cache = Path(environment.get("XDG_CACHE_HOME", real / ".cache"))
    found = {"PYTHONUSERBASE": site.getuserbase()}
    for name, place in _CACHES.items():
        folder = cache / place.removeprefix(".cache/") if ".cache/" in place else real / place
        if name not in environment and folder.is_dir():
            found[name] = str(folder)
    return found
