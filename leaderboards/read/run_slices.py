"""Slices straight from a run folder: no object per verdict, so that ten million make a table."""

from __future__ import annotations

from collections.abc import Container, Iterable

from greaves.base.errors import GreavesError
from greaves.base.records import Verdict
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.read.slices import Slice, SliceBuilder, check
from greaves.leaderboards.read.verdict_lines import CurrentVerdicts


def slices_of(run: RunFolder, judge: str | None = None) -> list[Slice]:
    """What `sort_verdicts` makes of the run's current verdicts.

    Args:
        judge: only the verdicts of this judge (name or name@version); None for the judges of the
            recipe, which second opinions are not.

    Raises:
        GreavesError: there are no verdicts, or none of that judge; or as `sort_verdicts`.
        StoreError: a file of the run is broken.
    """
    current, builder = CurrentVerdicts(), SliceBuilder()
    for cell in run.cells():
        builder.add(current.of_cell(cell))
    known = builder.judges
    if not known:
        raise _no_verdicts(run)
    chosen = chosen_judges(known, judge, run.second_opinions())
    if not chosen:
        do = f"judges: {', '.join(known)}"
        raise GreavesError(f"no verdicts by judge {judge!r}", where=str(run.path), do=do)
    builder.keep(chosen)
    if builder.may_be_a_mixture():
        check(v for cell in run.cells() for v in current.of_cell(cell) if v.judge in chosen)
    return builder.slices()


def _no_verdicts(run: RunFolder) -> GreavesError:
    do = "answer and judge first: greaves run"
    return GreavesError("the run has no verdicts yet", where=str(run.path), do=do)


def chosen_judges(known: Iterable[str], judge: str | None, second: Container[str]) -> set[str]:
    """Of the judges of a run those to show: the one asked for, or all that its recipe named.

    Where nobody but second opinions judged, they are what there is.
    """
    if judge is not None:
        return {name for name in known if judge in (name, name.partition("@")[0])}
    every = set(known)
    return {name for name in every if name not in second} or every


def shown_verdicts(run: RunFolder, judge: str | None = None) -> list[Verdict]:
    """The run's current verdicts by `chosen_judges`. Raises GreavesError: there are none."""
    found = run.verdicts()
    if not found:
        raise _no_verdicts(run)
    names = chosen_judges({one.judge for one in found}, judge, run.second_opinions())
    return [one for one in found if one.judge in names]
