"""Results that papers print, as data, with what can be said of their uncertainty.

Papers print rates without intervals and keep their verdicts. An *approximate* interval can still be
had from the counts: 350 questions x 5 responses, if responses to one question are assumed to
correlate at `CORRELATION`. It is Clopper and Pearson's on the effective number of responses.
Differences add the errors of both sides as if they were unpaired (MOVER, Zou and Donner 2008),
although the same questions were asked: they err on the wide side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

import yaml
from scipy.stats import beta

from greaves.base.records import MODES, Mode, Record
from greaves.leaderboards.estimate.metric import PERCENT, Level, metric_of
from greaves.leaderboards.estimate.statistics import CONFIDENCE
from greaves.leaderboards.read.slices import VANILLA

CORRELATION = 0.5
"""Assumed correlation of the responses to one question; with 5, 1,750 are then worth 583."""

SOURCES = ("rrs", "aiah", "sarsteer")


class Rates(Record):
    """One printed line: ASR by mode and ORR in percent, HS, and what was derived from them."""

    audio_text: float | None
    text_only: float | None
    audio_only: float | None
    orr: float
    hs: float | None = None
    avg_nsi: float | None = None
    nsi: dict[str, float | None] | None = None
    top_percent: float | None = None

    def asr(self) -> dict[Mode, float]:
        """Mode -> printed ASR; modes that the model does not support are left out."""
        found = {mode: getattr(self, mode.replace("-", "_")) for mode in MODES}
        return {mode: value for mode, value in found.items() if value is not None}

    def printed_nsi(self, mode: Mode) -> float | None:
        """NSI of one mode as printed."""
        return (self.nsi or {}).get(mode.replace("-", "_"))


class Column(NamedTuple):
    """A metric, and the mode it was measured in (None for ORR, Avg. NSI and HS)."""

    metric: str
    mode: Mode | None = None


class Figure(NamedTuple):
    """A printed number.

    Attributes:
        low, high: approximate 95 % interval; None for HS, whose spread is unknown.
        best: leads its column of this model and table.
        within_noise: its difference from the best has an approximate interval that holds 0; None
            for the best and where no interval can be had.
    """

    value: float
    low: float | None
    high: float | None
    best: bool
    within_noise: bool | None


@dataclass(frozen=True)
class PublishedTable:
    """One published table.

    Attributes:
        name: "2", "3" and "4" as the RRS paper counts them, or "aiah".
        lines: model -> name of the line (method, or percentage kept) -> column -> figure.
    """

    name: str
    title: str
    columns: Sequence[Column]
    lines: Mapping[str, Mapping[str, Mapping[Column, Figure]]]


def source(name: str) -> dict[str, Any]:
    """One file of `leaderboards/published`, see `SOURCES`."""
    file = resources.files("greaves.leaderboards") / "published" / f"{name}.yaml"
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def rrs_rates() -> dict[str, dict[str, Rates]]:
    """Tables 2 and 3 of the RRS paper: model -> method -> what is printed."""
    return _rates(source("rrs")["models"])


def rrs_feature_selection() -> dict[str, dict[str, Rates]]:
    """Table 4 of the RRS paper: model -> kept percentage -> what is printed."""
    return _rates(source("rrs")["rrs_feature_selection"])


def approximate_interval(
    percent: float, *, n_questions: int, n_samples: int
) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval on the effective number of responses, in percent."""
    n = n_questions * n_samples / (1.0 + (n_samples - 1) * CORRELATION)
    hits, tail = percent / PERCENT * n, (1.0 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1.0 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return PERCENT * low, PERCENT * high


def rrs_tables() -> list[PublishedTable]:
    """Tables 2 (ASR, ORR, Avg. NSI), 3 (NSI by mode, HS) and 4 (features kept)."""
    content = source("rrs")
    shape = (content["n_questions"], content["n_samples"])
    rates, kept = rrs_rates(), rrs_feature_selection()
    third = {
        model: {name: one for name, one in methods.items() if one.hs is not None}
        for model, methods in rates.items()
    }
    asr, nsi = ([Column(metric, mode) for mode in MODES] for metric in ("asr", "nsi"))
    orr, average = Column("orr"), Column("avg_nsi")
    return [
        _table("2", "Safety and over-rejection", [*asr, orr, average], rates, shape),
        _table("3", "NSI by mode and helpfulness", [*nsi, average, Column("hs")], third, shape),
        _table("4", "Share of safety features kept (top %)", [*asr, orr], kept, shape),
    ]


def aiah_table() -> PublishedTable:
    """ASR of the released models in "Audio Is the Achilles' Heel", setting 1."""
    content = source("aiah")
    shape = (content["n_questions"], content["n_samples"])
    columns = [Column("asr", mode) for mode in MODES[:2]]
    lines: dict[str, dict[str, dict[Column, Figure]]] = {}
    for model, methods in content["models"].items():
        for name, printed in methods.items():
            figures = [_alone(printed[str(one.mode).replace("-", "_")], *shape) for one in columns]
            cells = dict(zip(columns, figures, strict=True))
            lines.setdefault(model, {})[name] = cells
    return PublishedTable("aiah", "Released models (AIAH, setting 1)", columns, lines)


def sarsteer_figures() -> dict[str, Figure]:
    """Benchmark -> ASR of SARSteer; another judge and other data than every table here."""
    content = source("sarsteer")
    return {
        name: _alone(one["asr"], one["n_questions"], content["n_samples"])
        for name, one in content["benchmarks"].items()
    }


def _alone(percent: float, n_questions: int | None, n_samples: int) -> Figure:
    """A rate that is compared with nothing; without its number of questions it has no interval."""
    if n_questions is None:
        return Figure(percent, None, None, best=False, within_noise=None)
    ends = approximate_interval(percent, n_questions=n_questions, n_samples=n_samples)
    return Figure(percent, *ends, best=False, within_noise=None)


def _rates(models: Mapping[str, Mapping[Any, Any]]) -> dict[str, dict[str, Rates]]:
    return {
        model: {str(name): Rates.model_validate(line) for name, line in lines.items()}
        for model, lines in models.items()
    }


def _table(
    number: str,
    title: str,
    columns: Sequence[Column],
    rates: Mapping[str, Mapping[str, Rates]],
    shape: tuple[int, int],
) -> PublishedTable:
    lines: dict[str, dict[str, dict[Column, Figure]]] = {}
    for model, methods in rates.items():
        lines[model] = {name: {} for name in methods}
        for column in columns:
            for name, figure in _column(column, methods, shape).items():
                lines[model][name][column] = figure
    return PublishedTable(number, title, columns, lines)


def _column(
    column: Column, methods: Mapping[str, Rates], shape: tuple[int, int]
) -> dict[str, Figure]:
    printed = {name: _printed(column, one) for name, one in methods.items()}
    values = {name: value for name, value in printed.items() if value is not None}
    if not values:
        return {}
    metric = metric_of(column.metric)
    best = max(values, key=lambda name: metric.advantage(values[name]))
    own = {name: _terms(column, methods[name], shape) for name in values}
    shared = _terms(column, methods[VANILLA], shape) if metric.against_vanilla else []
    figures: dict[str, Figure] = {}
    for name, value in values.items():
        low, high = _combined(value, [*own[name], *_negated(shared)]) or (None, None)
        apart = _combined(values[name] - values[best], [*own[name], *_negated(own[best])])
        leads = values[name] == values[best]
        noise = None if leads or apart is None else apart[0] <= 0.0 <= apart[1]
        figures[name] = Figure(value, low, high, leads, noise)
    return figures


def _printed(column: Column, rates: Rates) -> float | None:
    metric, mode = column
    if mode:
        net = metric_of(metric).against_vanilla
        return rates.printed_nsi(mode) if net else rates.asr().get(mode)
    printed: float | None = getattr(rates, metric)
    return printed


_Reach = tuple[float, float]
"""How far an addend may lie below and above; of one that is taken off, above and below."""


def _terms(column: Column, rates: Rates, shape: tuple[int, int]) -> list[_Reach]:
    """The method's own addends of a column; the modes' errors are taken to be fully correlated."""

    def reach(percents: Sequence[float]) -> _Reach:
        ends = [
            (percent, *approximate_interval(percent, n_questions=shape[0], n_samples=shape[1]))
            for percent in percents
        ]
        below = math.fsum(value - low for value, low, _ in ends) / len(ends)
        above = math.fsum(high - value for value, _, high in ends) / len(ends)
        return below, above

    chosen = [value for mode, value in rates.asr().items() if column.mode in (None, mode)]
    asr, orr = reach(chosen), reach([rates.orr])
    metric = metric_of(column.metric)
    if metric.against_vanilla:
        return _negated([asr, orr])
    kind = metric.kind if isinstance(metric, Level) else None
    return {"harmful": [asr], "benign": [orr]}.get(str(kind), [])


def _negated(terms: Sequence[_Reach]) -> list[_Reach]:
    return [(above, below) for below, above in terms]


def _combined(value: float, terms: Sequence[_Reach]) -> tuple[float, float] | None:
    """Interval of a sum whose value is `value` (MOVER); None if nothing is known."""
    if not terms:
        return None
    below, above = zip(*terms, strict=True)
    return value - math.hypot(*below), value + math.hypot(*above)
