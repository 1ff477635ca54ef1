"""Exported manifests: their names in the folder of variants, and the checksum of their content.

The checksum is checked on reading; manifests of earlier versions have none.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from antifragile._data_files import read_json
from antifragile._files import safe_name, write_atomically
from antifragile.ablate.generation.names import in_ascii
from antifragile.ablate.study.manifest import AblationManifest, manifest_from
from antifragile.errors import UsageError

MANIFEST = "manifest.json"
DEFAULT_NAME = "ablation"
_MOST_WORDS = 80  # characters of a study's name in a file's
_CHECKSUM = "content_sha256"


def load_manifest(path: Path) -> AblationManifest:
    """Read an exported manifest.

    Raises:
        UsageError: It cannot be read, is not a manifest, or was changed after it was written.
    """
    try:
        plain = read_json(path, with_nan=True)
    except OSError as error:
        raise UsageError(f"cannot read the manifest {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise UsageError(f"cannot read the manifest {path}: {error}.") from error
    manifest = manifest_from(plain, str(path))
    if _CHECKSUM in plain and plain[_CHECKSUM] != _checksum(plain):
        raise UsageError(
            f"{path} was changed after it was written: its content does not have its checksum; the "
            "same 'ablate run' without --manifest writes it again from the store."
        )
    return manifest


def write_manifest(manifest: AblationManifest, folder: Path) -> Path:
    """Write a manifest into the folder of variants."""
    plain = manifest.to_json()
    plain[_CHECKSUM] = _checksum(plain)
    text = json.dumps(plain, indent=1, sort_keys=True) + "\n"
    path = folder / manifest_file(manifest.name)
    write_atomically(path, text.encode())
    return path


def _checksum(plain: dict[str, Any]) -> str:
    """SHA-256 of all that a manifest says, however it is laid out."""
    content = {key: value for key, value in plain.items() if key != _CHECKSUM}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def manifest_file(study: str) -> str:
    """File name of a study's manifest: no two studies of a folder share one, on any file system.

    A name that is no plain file name in lower case gets a part of its hash.
    """
    if study == DEFAULT_NAME:
        return MANIFEST
    words = safe_name(in_ascii(study), also="_.", at_most=_MOST_WORDS).lower()
    digits = (
        "" if words and words == study else f"-{hashlib.sha256(study.encode()).hexdigest()[:6]}"
    )
    return f"manifest-{words or 'study'}{digits}.json"


def older_manifest_file(study: str) -> str:
    """File name of a study's manifest in versions in which studies could share one."""
    return f"manifest-{safe_name(study, also='_.')}.json"
