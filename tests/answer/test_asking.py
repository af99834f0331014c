"""Models are asked directly: in which batches, at what cost, and without lm-eval."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greaves.align.defence import Defence
from greaves.answer.answering import answer, write_questions
from greaves.answer.asking import Said, Speaker, ask, samples_of
from greaves.base.conversation import Conversation, Sampling
from greaves.base.progress import Steps
from greaves.base.records import Cost, Question, Response
from greaves.base.run_folder import CellFolder
from greaves.models.contract import LALM, Generated, Unanswered
from greaves.models.out_of_memory import BatchSize


class Recorder(LALM):
    """A black box that repeats its prompt, keeps what it was asked, and never answers `silent`."""

    name, revision, fingerprint = "recorder", "1", "recorder"

    def __init__(self, silent: str = "") -> None:
        self.silent = silent
        self.batches: list[list[tuple[str | None, int]]] = []

    def render(self, conversation: Conversation) -> str:
        return f"{conversation.text}"

    def respond(self, conversations: Any, sampling: Sampling, seeds: Any) -> Any:
        self.batches.append(
            [(turn.text, len(own)) for turn, own in zip(conversations, seeds, strict=True)]
        )
        answers: Any = [
            [
                None if turn.text == self.silent else Generated(f"{turn.text} {n}", False)
                for n in own
            ]
            for turn, own in zip(conversations, seeds, strict=True)
        ]
        if any(text is None for own in answers for text in own):
            raise Unanswered("no answer", answers)
        return answers


def questions(*prompts: str) -> list[Question]:
    return [
        Question(
            id=prompt, task="t", task_version="1", kind="benign", mode="text-only", text=prompt,
            prompt=prompt,
        )
        for prompt in prompts
    ]  # fmt: skip


def test_a_batch_holds_whole_questions_that_are_drawn_alike() -> None:
    model, kept = Recorder(), []
    samples = [
        *samples_of(questions("a", "b", "c"), Sampling(n=2)),
        *samples_of(questions("d"), Sampling(n=5)),
        *samples_of(questions("e"), Sampling(n=1, temperature=0.0)),
    ]
    ask(model, samples, BatchSize(2), kept.append)
    assert model.batches == [[("a", 2), ("b", 2)], [("c", 2), ("d", 5)], [("e", 1)]]
    assert [sample for said in kept for sample, _, _ in said] == samples


def test_one_question_that_is_never_answered_does_not_keep_the_others_from_being_asked() -> None:
    model, kept = Recorder(silent="b"), []
    with pytest.raises(Unanswered):
        ask(model, samples_of(questions("a", "b", "c"), Sampling(n=1)), BatchSize(1), kept.append)
    assert [generated.text for said in kept for _, generated, _ in said] == [
        f"a {samples_of(questions('a'), Sampling(n=1))[0].seed}",
        f"c {samples_of(questions('c'), Sampling(n=1))[0].seed}",
    ]


def test_what_is_known_is_not_asked_again_whatever_it_cost(tmp_path: Path) -> None:
    model, place = Recorder(), CellFolder(tmp_path)
    speaker = Speaker(model, "vanilla", 0, Defence().hash)
    samples = samples_of(questions("a", "b"), Sampling(n=2), speaker)
    write_questions(place, samples)
    assert [item.keys for item in place.questions()] == [
        tuple(sample.key for sample in samples[:2]),
        tuple(sample.key for sample in samples[2:]),
    ]
    old = Response.of(samples[0].question, "known", key=samples[0].key)
    (tmp_path / "responses.jsonl").write_text(old.to_line().replace(', "cost": null', "") + "\n")

    def once() -> Any:
        return answer(
            place, speaker, Defence(), samples, batch_size=8, steps=Steps(plain=True), stage="s"
        )

    first, again = once(), once()
    assert (first.asked, first.found) == (3, 1)
    assert (again.asked, again.found) == (0, 4)
    assert model.batches == [[("a", 1), ("b", 2)]]
    before, *fresh = place.current_responses()
    assert (before.text, before.cost) == ("known", None)
    assert all(one.cost is not None and one.cost.calls == 1 for one in fresh)


def test_responses_that_differ_only_in_cost_are_the_same() -> None:
    [question] = questions("a")
    one, other = (Response.of(question, "x", key="k", cost=cost) for cost in (None, Cost(calls=3)))
    assert one == other
    assert len({one, other}) == 1
    assert one != Response.of(question, "y", key="k")
    assert Response.from_line(other.to_line()).cost == Cost(calls=3)


def test_the_cost_of_a_text_is_counted_in_the_models_own_tokens(pocket: Any) -> None:
    kept: list[Said] = []
    samples = samples_of(questions("How do I paint the fence?"), Sampling(n=3, max_new_tokens=6))
    ask(pocket, samples, BatchSize(4), kept.extend)
    prompt = pocket.tokenizer.encode(pocket.render(Conversation(text="How do I paint the fence?")))
    for _, generated, cost in kept:
        assert cost.prompt_tokens == len(prompt)
        assert cost.new_tokens is not None
        assert (cost.new_tokens == 6) == generated.truncated
        assert cost.seconds is not None
        assert cost.seconds > 0
    [cost] = {cost.seconds for _, _, cost in kept}


def test_a_run_without_text_tasks_does_not_import_lm_eval(
    tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    recipe = write_recipe(tasks=["aiah-text-only"])
    code = (
        "import sys; from pathlib import Path\n"
        "from greaves.recipe.reading import read_plan\n"
        "from greaves.run.runner import run\n"
        f"assert run(read_plan(Path({str(recipe)!r})), Path({str(tmp_path / 'run')!r})).asked\n"
        "sys.exit(any(name.split('.')[0] == 'lm_eval' for name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
