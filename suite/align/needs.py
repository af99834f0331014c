"""What a method needs of its alignment data, told before anything is computed."""

from __future__ import annotations

from greaves.base.errors import DataError
from greaves.data.alignment.sets import AlignmentData


def questions(
    data: AlignmentData | None, method: str, *, harmful: int = 1, benign: int = 1
) -> AlignmentData:
    """The data, if they hold enough questions of each kind.

    Args:
        data: what `align` was given.
        method: its name in the message.
        harmful, benign: questions needed at least.

    Raises:
        DataError: there are fewer, or no data at all.
    """
    if data is None or len(data.harmful) < harmful or len(data.benign) < benign:
        raise DataError(
            f"{method} needs alignment data with at least {harmful} harmful and {benign} benign"
            " questions"
        )
    return data
