"""A JSON file that holds one object."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hslm_tf.data.errors import DataError
from hslm_tf.data.regular_file import read_file


def parse_json(text: str | bytes, place: str) -> Any:
    """Parses JSON."""
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except RecursionError as error:
        raise DataError(f"{place} is not a JSON that can be read: it is nested too deep") from error
    except ValueError as error:
        raise DataError(f"{place} is not JSON: {error}") from error


def parse_object(text: str | bytes, place: str) -> dict[str, Any]:
    """Parses one JSON object."""
    content = parse_json(text, place)
    if not isinstance(content, dict):
        raise DataError(f"{place} holds {json.dumps(content)[:60]}, expected an object")
    return content


def read_object(path: Path) -> dict[str, Any]:
    """Reads a file."""
    return parse_object(read_file(path), str(path))


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a file."""
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
