"""A table straight from the files of a run: the same as verdict by verdict, errors included."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_verdicts import judged
from made_written_run import write_run
from scipy.stats import bootstrap

from greaves.base.errors import GreavesError
from greaves.base.records import Verdict
from greaves.base.run_folder import RunFolder
from greaves.leaderboards.board.notes import notes, notes_on
from greaves.leaderboards.board.table import board_of
from greaves.leaderboards.estimate.paired import ByMethod, sign_flip_p
from greaves.leaderboards.estimate.statistics import bca, mean_over_modes
from greaves.leaderboards.read.run_slices import slices_of
from greaves.leaderboards.read.slices import Slice, sort_verdicts

TASKS = ("aiah-audio-text", "aiah-text-only", "aiah-benign", "air-bench-chat")
REASONS = (
    "made for a test",
    'a "quoted" word, a \\ and a \\" too',
    "two\nlines\tand {braces}, [brackets]",
    "\N{PILE OF POO} \u00e9 \u2028 \x7f",
    "",
)


def contents(slices: list[Slice]) -> list[object]:
    """All that tables read of slices, comparable."""
    return [
        (
            *(one.judge, one.model, one.method, one.key, one.seeds, one.counts(), one.degenerate),
            [dict(one.per_question(seed)) for seed in (None, *one.seeds)],
            {
                question: sorted(map(str, values))
                for question, values in zip(one.ids, one.responses(), strict=True)
                if values
            },
        )
        for one in slices
    ]


def told(read: Callable[[], list[Slice]]) -> object:
    """What comes of it: the slices, or the words of the error."""
    try:
        return contents(read())
    except GreavesError as error:
        return type(error), str(error)


def random_verdicts(seed: int) -> list[Verdict]:
    """Several models, methods, training seeds and judges; gaps, every outcome, odd ids."""
    draw = random.Random(seed)
    verdicts: list[Verdict] = []
    names = itertools.product(("qwen2-audio", "other"), ("vanilla", "rrs"), (0, 1), TASKS)
    for model, method, number, task in names:
        ids = [f"q{index}" for index in range(12)] + ['"', "\u00e9\N{PILE OF POO}", "a\\b"]
        marks: dict[str, list[str | float]] = {
            one: [
                draw.choice("??hrad") if draw.random() < 0.7 else draw.choice([7.3, 8.1, 9.0])
                for _ in range(3)
            ]
            for one in draw.sample(ids, draw.randint(8, len(ids)))
        }
        judges = ["rules@1", "llm@2"] if draw.random() < 0.5 else ["rules@1"]
        for judge in judges:
            verdicts += judged(task, marks, method=method, seed=number, model=model, judge=judge)
    return [one.model_copy(update={"reason": draw.choice(REASONS)}) for one in verdicts]


def files_of(run: RunFolder) -> list[Path]:
    return sorted(run.path.glob("cells/*/*/*/verdicts.*.jsonl"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """vanilla and rrs on two questions of one task."""
    marks = {"q1": "ha", "q2": "aa"}
    write_run(tmp_path, judged(TASKS[0], marks) + judged(TASKS[0], marks, method="rrs"))
    return RunFolder.open(tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_a_run_gives_the_slices_that_its_verdicts_give(seed: int, tmp_path: Path) -> None:
    write_run(tmp_path, random_verdicts(seed))
    run, draw = RunFolder.open(tmp_path), random.Random(seed)
    for path in files_of(run):  # judged before, out of order, no longer asked, cut off
        lines = path.read_text().splitlines(keepends=True)
        earlier = [
            Verdict.from_line(line).model_copy(update={"outcome": "unscored", "score": None})
            for line in draw.sample(lines, 3)
        ]
        stale = [one.model_copy(update={"key": "no longer asked"}) for one in earlier]
        old = [f"{one.to_line()}\n" for one in (*earlier, *stale)]
        path.write_text("".join([*old, *draw.sample(lines, len(lines)), lines[0][:-9]]))
    found, expected = slices_of(run), sort_verdicts(run.verdicts())
    assert contents(found) == contents(expected)
    assert board_of(found) == board_of(sort_verdicts(run.verdicts()))
    assert notes_on(found) == notes(run.verdicts())


LINE = Verdict.to_line(judged(TASKS[0], {"q1": "h"})[0])
ODD_LINES = {
    "no object": "null",
    "a number": "5",
    "empty object": "{}",
    "empty line": "",
    "two objects": LINE + LINE,
    "null between": f"{LINE}null{LINE}",
    "a list": f"[{LINE}]",
    "cut off": LINE[:-20],
    "more after it": LINE + " x",
    "field missing": LINE.replace('"task_version": "1", ', ""),
    "foreign field": LINE.replace("{", '{"more": 1, '),
    "field twice": LINE.replace("{", '{"key": "a", '),
    "unknown outcome": LINE.replace('"harmful", "score"', '"fine", "score"'),
    "unknown mode": LINE.replace("audio-text", "audio"),
    "score too high": LINE.replace('"score": null', '"score": 11.0'),
    "score too low": LINE.replace('"score": null', '"score": 0.5'),
    "score no number": LINE.replace('"score": null', '"score": NaN'),
    "whole score": LINE.replace('"harmful", "score": null', '"scored", "score": 7'),
    "seed a float": LINE.replace('"seed": 0', '"seed": 0.5'),
    "seed a whole float": LINE.replace('"seed": 0', '"seed": 0.0'),
    "seed a text": LINE.replace('"seed": 0', '"seed": "0"'),
    "huge sample": LINE.replace('"sample": 0', f'"sample": {10**30}'),
    "negative sample": LINE.replace('"sample": 0', '"sample": -1'),
    "text a number": LINE.replace('"category": ""', '"category": 5'),
    "reason null": LINE.replace('"made for a test"', "null"),
    "control character": LINE.replace("made for", "made\x01for"),
    "zero byte": LINE.replace("made for", "made\0for"),
    "carriage return": LINE.replace("made for", "made\rfor"),
    "wrong escape": LINE.replace("made for", "made\\xfor"),
    "half a surrogate": LINE.replace("made for", "made\\ud83dfor"),
    "capital escape": LINE.replace("made for", "made\\u00E9for"),
    "not ASCII": LINE.replace("made for", "made \u00e9 for"),
    "no UTF-8": LINE.replace("made for", "made \udcff for"),
    "no spaces": LINE.replace(", ", ",").replace(": ", ":"),
    "spaces before": "  " + LINE,
    "hash left out": LINE.replace(', "question_hash": ""', ""),
    "other order": LINE.replace('"seed": 0, ', "").replace("{", '{"seed": 0, '),
    "escaped key": LINE.replace('"key": "', '"key": "\\u0071'),
}


@pytest.mark.parametrize("odd", ODD_LINES.values(), ids=ODD_LINES)
@pytest.mark.parametrize("place", [0, 2])
def test_an_odd_line_is_read_or_refused_as_the_record_itself_does(
    odd: str, place: int, run: RunFolder
) -> None:
    path = files_of(run)[1]
    lines = path.read_text().splitlines()
    lines[place:place] = [odd]
    path.write_bytes("".join(f"{one}\n" for one in lines).encode(errors="surrogateescape"))
    by_verdict, by_column = (
        told(lambda: sort_verdicts(run.verdicts())),
        told(lambda: slices_of(run)),
    )
    assert by_column == by_verdict


@pytest.mark.parametrize(
    "odd",
    [
        '{"question": 5, "keys": []}',
        '{"keys": ["a"]}',
        "null",
        '{"question": {}, "keys": ["a"]}',
        '{"question": {"id": "q9", "keys": ["a"]}',
    ],
)
def test_an_odd_question_is_refused_as_the_record_itself_does(odd: str, run: RunFolder) -> None:
    path = files_of(run)[0].with_name("questions.jsonl")
    path.write_text(f"{path.read_text()}\n{odd}\n")  # a blank line is no question
    refused = told(lambda: sort_verdicts(run.verdicts()))
    assert isinstance(refused, tuple)
    assert told(lambda: slices_of(run)) == refused


def test_questions_without_keys_and_with_odd_keys_are_read(run: RunFolder) -> None:
    path = files_of(run)[0].with_name("questions.jsonl")
    first, *rest = path.read_text().splitlines()
    none = first.partition('"keys": ')[0] + '"keys": []}'
    path.write_text(
        "\n".join([none, "", *rest, first.replace('"keys": ["', '"keys": ["\\u00e9')]) + "\n"
    )
    assert contents(slices_of(run)) == contents(sort_verdicts(run.verdicts()))


@pytest.mark.parametrize("what", ["key", "sample", "task_version", "mode"])
def test_a_mixture_is_refused_by_the_same_words(what: str, run: RunFolder) -> None:
    first, second = files_of(run)
    lines = [Verdict.from_line(line) for line in second.read_text().splitlines()]
    if what == "key":  # a cell copied over another
        lines = [Verdict.from_line(line) for line in first.read_text().splitlines()]
        questions = first.with_name("questions.jsonl").read_text()
        second.with_name("questions.jsonl").write_text(questions)
    elif what == "sample":
        lines[1] = lines[1].model_copy(update={"sample": 0})
    else:
        changed = {"task_version": "2", "mode": "audio-only"}[what]
        lines = [one.model_copy(update={what: changed}) for one in lines]
    second.write_text("".join(f"{one.to_line()}\n" for one in lines))
    refused = told(lambda: sort_verdicts(run.verdicts()))
    assert isinstance(refused, tuple)
    assert told(lambda: slices_of(run)) == refused


def test_cells_are_read_several_times_as_fast_as_verdict_by_verdict(tmp_path: Path) -> None:
    marks = {f"q{index}": "harad" * 4 for index in range(200)}
    write_run(tmp_path, [one for name in "abc" for one in judged(TASKS[0], marks, method=name)])
    run, seconds = RunFolder.open(tmp_path), []
    for read in (lambda: sort_verdicts(run.verdicts()), lambda: slices_of(run)):
        start = time.process_time()
        read()
        seconds.append(time.process_time() - start)
    assert seconds[1] < seconds[0] / 2  # of larger cells about a tenth; without columns the same


@pytest.mark.parametrize("share", [0.005, 0.3])
@pytest.mark.parametrize(("questions", "benign"), [(2, 3), (40, 25), (350, 350), (900, 5)])
def test_intervals_are_those_of_scipy(share: float, questions: int, benign: int) -> None:
    draw = np.random.default_rng(questions)
    gains = draw.binomial(5, draw.beta(share, 1 - share, (3, questions))) / 5
    costs = draw.binomial(5, 0.2, benign) / 5

    def net(ids: np.ndarray, refused: np.ndarray, axis: int = -1) -> np.ndarray:
        return mean_over_modes(there[:, ids.astype(np.intp)]) - refused.mean(axis=axis)

    options = {"n_resamples": 4000, "batch": 500, "vectorized": True}
    for missing in (0.0, 0.1):
        there = np.where(draw.random(gains.shape) < missing, np.nan, gains)
        samples = (np.arange(questions), costs)
        with np.testing.suppress_warnings() as quiet:
            quiet.filter(Warning)
            expected = bootstrap(samples, net, rng=np.random.default_rng(1), **options)
        found = bca(there, costs[None], seed=1, confidence=0.95)
        assert found == pytest.approx(tuple(expected.confidence_interval), abs=1e-12, nan_ok=True)


def test_flips_of_methods_are_those_of_their_differences() -> None:
    terms = np.random.default_rng(2).normal(size=(6, 40))
    first, second = np.array(list(itertools.combinations(range(6), 2))).T
    pairs = terms[first] - terms[second]
    by_method = ByMethod(terms, first, second)
    assert sign_flip_p(pairs, by_method=by_method) == sign_flip_p(pairs)
