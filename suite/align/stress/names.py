"""Names of cells under stress; light enough for whoever only reads verdicts."""

from __future__ import annotations

MARK = "~"
"""Between a method's name and its stress's, as in `rrs~benign-finetuning`."""


def stressed_name(method: str, stress: str) -> str:
    """Name of the cell in which `method` is under `stress`."""
    return f"{method}{MARK}{stress}"


def unstressed(name: str) -> tuple[str, str]:
    """A cell's method and the stress it is under; "" for none.

    Example:
        >>> unstressed("rrs~benign-finetuning"), unstressed("rrs")
        (('rrs', 'benign-finetuning'), ('rrs', ''))
    """
    method, _, stress = name.partition(MARK)
    return method, stress
