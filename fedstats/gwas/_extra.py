"""Readers of other packages, imported when a file needs them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from fedstats.errors import DataError


def needs(module: str, package: str, path: Path) -> Any:
    """Import what reads a file, or say what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        raise DataError(
            f"{path}: reading it needs the package {package}: pip install 'fedstats[genotypes]'"
        ) from error
