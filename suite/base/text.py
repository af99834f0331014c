"""Text that others wrote (data files, models, submissions) where somebody reads it."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes a cell for a formula by."""


def printable(text: str) -> str:
    """The text on one line, its control characters (such as terminal escapes) replaced."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def whole(text: str) -> str:
    """The text with halves of surrogate pairs joined, or replaced: no file could hold them."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def csv_cell(value: object) -> object:
    """A value for a CSV file; text is printable, and no spreadsheet takes it for a formula."""
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(FORMULA) else printable(value)
