"""Packs a run, checks the file that was packed, and only then gives it its name."""

from __future__ import annotations

import re
from pathlib import Path

from greaves.base.errors import GreavesError
from greaves.base.run_folder import RunFolder
from greaves.base.store import replacing
from greaves.leaderboards.submission.checks import problems
from greaves.leaderboards.submission.contents import Submission, read_submission
from greaves.leaderboards.submission.manifest import NAME
from greaves.leaderboards.submission.pack import pack


class RefusedError(GreavesError):
    """A submission that does not hold.

    Args:
        where: the file, or the run that was packed.
        problems: what does not match, one line each.
    """

    def __init__(self, where: Path, problems: list[str]) -> None:
        super().__init__(f"{len(problems)} things do not match", where=str(where))
        self.place, self.problems = where, problems


def refuse_broken(where: Path, submission: Submission) -> None:
    """Raises RefusedError if anything in the submission does not match."""
    if found := problems(submission):
        raise RefusedError(where, found)


def write_submission(run: RunFolder, name: str, target: Path) -> Submission:
    """Write the submission of a finished run.

    Raises:
        GreavesError: the run is not finished, `name` cannot be a submission's, or the file cannot
            be written.
        RefusedError: what was packed does not hold.
    """
    if not re.fullmatch(NAME, name):
        raise GreavesError(
            f"{name!r} cannot name a submission",
            where="--name",
            do='use letters, digits, ".", "_" and "-", 64 at most',
        )
    data = pack(run, name)
    try:
        with replacing(target) as part:
            part.write_bytes(data)
            submission = read_submission(part)
            refuse_broken(run.path, submission)
    except OSError as error:
        raise GreavesError(f"cannot be written ({error.strerror})", where=str(target)) from None
    return submission
