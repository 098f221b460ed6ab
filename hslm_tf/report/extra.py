"""Packages that only reports need."""

import importlib
from types import ModuleType


def load_extra(package: str) -> ModuleType:
    """Imports a package of the extra `report`.

    Args:
        package: `jinja2` or `matplotlib`.

    Returns:
        The package.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"{package} is not installed: pip install hslm-tf[report]") from error
