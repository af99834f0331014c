"""What a reader of the leaderboard must be told beside the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from greaves.align.stress.names import unstressed
from greaves.base.records import Verdict
from greaves.leaderboards.estimate.metric import METRICS, levels_of
from greaves.leaderboards.estimate.net import nsi_tasks
from greaves.leaderboards.read.slices import VANILLA, Slice, by_model, sort_verdicts

ENOUGH = 10
"""Below this many questions a nominal 95 % interval was seen to cover 88 % (simulated, ASR .30)."""

_DIFFERENT = "The stresses differ: what comes after them is no comparison of methods alone"

_NAMED = 5  # missing questions named in one line


def notes(verdicts: Iterable[Verdict]) -> list[str]:
    """`notes_on` verdicts. Raises GreavesError: as `sort_verdicts`."""
    return notes_on(sort_verdicts(verdicts))


def notes_on(slices: list[Slice]) -> list[str]:
    """All notes on one table: `gaps`, too few questions, unscored and degenerate ones, no NSI."""
    return [
        *gaps(slices),
        *_few_questions(slices),
        *_bounds(slices),
        *_degenerate(slices),
        *_without_nsi(slices),
        *(f"Metric {name} could not be loaded: {why}" for name, why in METRICS.broken().items()),
    ]


def stress_notes(cells: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the stressed methods were put under, one line a stress that differs in anything.

    Args:
        cells: facts of a run's cells (see `RunFolder`).
    """
    methods: dict[str, dict[str, None]] = {}
    for facts in cells:
        if "stresses" in facts:
            _, stress = unstressed(facts["method"])
            methods.setdefault(f"{stress} ({_settings(facts)})", {})[facts["stresses"]] = None
    lines = [f"Under {stress}: {', '.join(names)}" for stress, names in methods.items()]
    return [*lines, _DIFFERENT] if len(lines) > 1 else lines


def _settings(facts: Mapping[str, Any]) -> str:
    config = facts.get("config") or {}
    chosen = (facts.get("defence_notes") or {}).get("selection") or {}
    count = f"{chosen.get('questions')} of {chosen.get('of')} benign questions"
    named = ("axis", "side", "fraction", "learning_rate", "epochs", "batch_size", "rank")
    return "; ".join([count, *(f"{name} {config[name]}" for name in named if name in config)])


def gaps(slices: list[Slice]) -> list[str]:
    """Cells (model x method x seed) that lack questions which other cells have scored responses to.

    A task that no cell of a model has is not a gap: the model may not support the mode.
    """
    asked = _asked(slices)
    lines = []
    for (judge, model), group in by_model(slices).items():
        cells = {(one.method, seed): None for one in group for seed in one.seeds}
        by_task = {(one.method, one.key.task): one for one in group}
        for task in dict.fromkeys(one.key.task for one in group):
            whole = asked[judge, task]
            for method, seed in cells:
                found = by_task.get((method, task))
                scored = found.per_question(seed) if found else {}
                if len(scored) < len(whole):
                    lacking = sorted(whole - set(scored))
                    n = f"{len(whole) - len(lacking)} of {len(whole)} questions"
                    said = f"{n} scored by {judge} (missing: {_few(lacking)})"
                    lines.append(f"{model}, {method}, seed {seed}, {task}: {said}")
    return lines


def _asked(slices: list[Slice]) -> dict[tuple[str, str], set[str]]:
    """(judge, task) -> ids of all questions that any cell has a scored response to."""
    asked: dict[tuple[str, str], set[str]] = {}
    for one in slices:
        asked.setdefault((one.judge, one.key.task), set()).update(one.per_question())
    return asked


def _few_questions(slices: list[Slice]) -> list[str]:
    return [
        f"{task}: {len(ids)} questions scored by {judge}; intervals are too narrow below {ENOUGH}"
        for (judge, task), ids in _asked(slices).items()
        if len(ids) < ENOUGH
    ]


def _bounds(slices: list[Slice]) -> list[str]:
    """Worst and best case of every slice with unscored responses, whatever those really were."""
    lines = []
    for one in slices:
        for metric in levels_of(one.key):
            own = metric.of(one)
            responses, unscored = own.counts()
            if unscored:
                low, high = sorted(metric.cases(own))
                lines.append(
                    f"{one.model}, {one.method}, {one.key.task}: {unscored} of {responses} "
                    f"responses unscored by {one.judge}; {metric.title} between {low:.2f} and "
                    f"{high:.2f}, whatever they were"
                )
    return lines


def _degenerate(slices: list[Slice]) -> list[str]:
    """Empty, truncated and looping responses: no refusals, no compliance, but no safety either."""
    counts = sorted(
        (*(one.model, one.method, one.key.task, one.judge), one.degenerate) for one in slices
    )
    return [
        f"{model}, {method}, {task}: {count} responses degenerate by {judge} (empty, truncated or"
        " looping); they count neither as refused nor as harmful"
        for model, method, task, judge, count in counts
        if count
    ]


def _without_nsi(slices: list[Slice]) -> list[str]:
    lines = []
    for judge in dict.fromkeys(one.judge for one in slices):
        keys = {one.key for one in slices if one.judge == judge}
        harmful, benign = nsi_tasks(keys)
        kinds = {key.kind for key in keys}
        if not {"harmful", "benign"} <= kinds:
            continue  # nobody expects NSI of such a run
        modes = {key.mode for key in keys if key.kind == "harmful"} - set(harmful)
        lines += [
            f"No NSI for {mode}: several harmful tasks, none named aiah-{mode} ({judge})"
            for mode in sorted(modes)
        ]
        if benign is None:
            lines.append(f"No NSI: several benign tasks, not one named aiah-* ({judge})")
        lines += [
            f"No NSI for {model}: no vanilla verdicts by {judge}"
            for (name, model), group in by_model(slices).items()
            if name == judge and all(one.method != VANILLA for one in group)
        ]
    return lines


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
