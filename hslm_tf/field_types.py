"""Types of the fields of a configuration, checked as they are annotated."""

import dataclasses
import math
import numbers
import os
from typing import Any, Literal, get_args, get_origin, get_type_hints


def check_types(config: Any) -> None:
    """Refuses values that Python would take all the same, such as "no" for a flag, or NaN."""
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        if not _fits(value, hint):
            expected = getattr(hint, "__name__", str(hint))
            raise ValueError(f"`{field.name}` must be {expected}. Received: {field.name}={value!r}")


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_args(hint):
        return any(_fits(value, one) for one in get_args(hint))
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if hint is float:
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        return real and math.isfinite(value)
    return isinstance(value, (str, os.PathLike) if hint is str else hint)
