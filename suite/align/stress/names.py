"""Names of stresses, and of cells under them; light enough for whoever only reads verdicts."""

from __future__ import annotations

BENIGN_FINETUNING = "benign-finetuning"
"""See `greaves.align.stress.benign_finetuning`."""

STRESSES = (BENIGN_FINETUNING,)

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
    for stress in STRESSES:
        if name.endswith(f"{MARK}{stress}"):
            return name.removesuffix(f"{MARK}{stress}"), stress
    return name, ""
