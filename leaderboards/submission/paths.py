"""How paths of a machine are cut from what leaves it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

_FOLDERS = re.compile(r"(?:\bfile:/)?(?<![\w:/.~-])/(?:[^\s/'\"]+/)+")
"""The folders of an absolute path inside a sentence; not those of an address (https://...)."""


def without_folders(value: Any) -> Any:
    """Plain data with every absolute path in its texts cut to the last name.

    Example:
        >>> without_folders({"data": "/home/me/aiah", "model": "Qwen/Qwen2-Audio"})
        {'data': 'aiah', 'model': 'Qwen/Qwen2-Audio'}
    """
    if isinstance(value, dict):
        return {without_folders(name): without_folders(each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_folders(each) for each in value]
    if not isinstance(value, str):
        return value
    if value.startswith("~") or PurePosixPath(value).is_absolute():
        return PurePosixPath(value).name
    if PureWindowsPath(value).is_absolute():
        return PureWindowsPath(value).name
    return _FOLDERS.sub("", value)
