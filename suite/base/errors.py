"""The errors that users see: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

from greaves.base.text import printable


class GreavesError(Exception):
    """A mistake in what the user gave us. The CLI prints it as one line and exits with status 2.

    Args:
        what: what is wrong, in one sentence without a full stop.
        where: the file, line, field or question id it was found in; empty if nowhere in particular.
        do: what to do next; empty if the first part says it.

    The line is printable whatever the parts quote: file names and fields may hold terminal escapes.

    Example:
        >>> str(GreavesError("unknown method 'rss'", where="recipe.yaml: methods[1]",
        ...                  do="did you mean 'rrs'?"))
        "recipe.yaml: methods[1]: unknown method 'rss'; did you mean 'rrs'?"
    """

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        self.what, self.where, self.do = what, where, do
        line = f"{where}: {what}" if where else what
        super().__init__(printable(" ".join((f"{line}; {do}" if do else line).split())))


class RecipeError(GreavesError):
    """A recipe that cannot be run as written."""


class DataError(GreavesError):
    """A data file or clip that is missing, broken, or not what it claims to be."""


class RegistryError(GreavesError):
    """A name that is unknown, or registered twice."""


class StoreError(GreavesError):
    """A run folder that cannot be read, written or locked."""


class ModelError(GreavesError):
    """A model that cannot be loaded, or cannot do what a method asks of it."""


class TrainingError(GreavesError):
    """Fine-tuning that cannot go on, such as a loss that is not a number."""
