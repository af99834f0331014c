"""How long distracting clips are: `distraction.json` of a data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from greaves.base.errors import DataError
from greaves.base.records import Record
from greaves.data.speech.clips import MAX_SECONDS, MIN_SECONDS
from greaves.data.tables import read_object

DISTRACTION = "distraction.json"


class Distraction(Record):
    """Length and seed of the distracting clips of a data folder (AIAH, setting 2).

    Attributes:
        seconds: AIAH drew 2 to 14 s. Default 2, the shortest of these, which every model hears
            whole (the pocket LALM hears 4 s).
        seed: of the noise; each question has its own, which follows from this one and its id.
    """

    seconds: Annotated[float, Field(ge=MIN_SECONDS, le=MAX_SECONDS)] = 2.0
    seed: Annotated[int, Field(ge=0)] = 0


def read_distraction(folder: Path) -> Distraction:
    """What `distraction.json` says, or the defaults where there is none.

    Raises:
        DataError: the file cannot be read, or a field is unknown or out of range.
    """
    path = folder / DISTRACTION
    try:
        return Distraction.model_validate(read_object(path) or {})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DataError(f"{field}: {first['msg'].lower()}", where=str(path)) from None
