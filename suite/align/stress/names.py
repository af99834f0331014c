"""Names of cells under stress; light enough for whoever only reads verdicts."""

from __future__ import annotations

import re

MARK = "~"
"""Between a method's name and its stress's, as in `rrs~benign-finetuning`."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")  # of a stress: strangers' methods may hold a "~", too


def stressed_name(method: str, stress: str) -> str:
    """Name of the cell in which `method` is under `stress`."""
    return f"{method}{MARK}{stress}"


def unstressed(name: str) -> tuple[str, str]:
    """A cell's method and the stress it is under; "" for none.

    Example:
        >>> unstressed("rrs~benign-finetuning"), unstressed("rrs")
        (('rrs', 'benign-finetuning'), ('rrs', ''))
    """
    method, _, stress = name.rpartition(MARK)
    return (method, stress) if method and _NAME.fullmatch(stress) else (name, "")
