"""JSON files of ours: one document in each, of bounded size, replaced at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.core.errors import DataError
from harness.core.files.atomic import write_atomically
from harness.core.files.regular import MAX_JSON_BYTES, read_regular
from harness.core.json_values import finite, parse_json


def load_json(path: Path) -> Any:
    """The JSON value in a regular file; raises OSError, and ValueError for what is no JSON."""
    return parse_json(read_regular(path, limit=MAX_JSON_BYTES, within=path.parent).decode())


def read_json(path: Path, *, remedy: str = "") -> Any:
    """The JSON value in a regular file.

    Args:
        remedy: what helps where the file is there and is not JSON.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it cannot be read, or is not JSON.
    """
    try:
        return load_json(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error}.", remedy=remedy) from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.", remedy=remedy) from error


def write_json(path: Path, value: Any) -> None:
    """Replace the file at once; numbers that are not finite become null."""
    text = json.dumps(finite(value), ensure_ascii=False, indent=1) + "\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))
