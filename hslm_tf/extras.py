"""Packages that only a part of the project needs."""

import importlib
from types import ModuleType


def load_extra(package: str, extra: str) -> ModuleType:
    """Imports a package that belongs to an extra."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"{package} is not installed: pip install hslm-tf[{extra}]") from error
