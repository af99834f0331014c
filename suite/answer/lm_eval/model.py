"""A LALM, with or without a defence, as an lm-eval model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.registry import register_model

from greaves.align.defence import Defence
from greaves.answer.keys import Speaker
from greaves.answer.lm_eval.tasks import SeededInstance
from greaves.answer.lm_eval.text_requests import TextRequests
from greaves.base.conversation import Sampling, conversation_of
from greaves.base.records import Question, Response
from greaves.models.contract import MODELS, Generated, Unanswered
from greaves.models.out_of_memory import BatchSize


@dataclass(frozen=True)
class Request:
    """One sample of one question, under the key its response will have."""

    key: str
    question: Question
    sampling: Sampling
    sample: int
    seed: int


@register_model("greaves")
class GreavesLM(TextRequests):
    """A LALM, with or without a defence, as an lm-eval model.

    Args:
        model: name in Greaves' registry.
        defence: folder of a saved defence; none for vanilla.
        batch_size: conversations at a time; each is prefilled once for all its samples.
        speaker: given by the runner, which has loaded the model and attached the defence.
        known: texts by key that need not be asked for again.
        on_responses: called with each finished batch of responses.
        say: takes a line where the batch size had to be halved.
        device, model_args: passed to the model.
    """

    MULTIMODAL = True

    def __init__(
        self,
        model: str = "pocket",
        defence: str | None = None,
        batch_size: int | str = 16,
        *,
        speaker: Speaker | None = None,
        known: Mapping[str, str] | None = None,
        on_responses: Callable[[list[Response]], None] | None = None,
        say: Callable[[str], None] = lambda line: None,
        device: str | None = None,
        max_batch_size: int | None = None,
        **model_args: Any,
    ) -> None:
        self._attached = ExitStack()
        if speaker is None:
            # lm-eval asks for cuda:0 unless told otherwise, whether there is one or not
            if device and (torch.cuda.is_available() or not device.startswith("cuda")):
                model_args["device"] = device
            lalm = MODELS.get(model)(**model_args)
            loaded = Defence.load(Path(defence)) if defence else Defence()
            defended = self._attached.enter_context(loaded.attached(lalm))
            speaker = Speaker(lalm, defence or "vanilla", 0, loaded.hash, defended)
        size = max_batch_size or (int(batch_size) if str(batch_size).isdigit() else 16)
        super().__init__(speaker.asked, BatchSize(size, say))
        self.speaker = speaker
        self.known = dict(known or {})
        self.on_responses: Callable[[list[Response]], None] = on_responses or (lambda _: None)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Texts in the order of the requests; those already known are not asked for again."""
        ours = [request for request in requests if isinstance(request, SeededInstance)]
        theirs = [request for request in requests if not isinstance(request, SeededInstance)]
        texts = {id(request): text for request, text in zip(ours, self._said(ours), strict=True)}
        found = iter(self.generate_texts(theirs))  # one request may come several times
        return [texts[id(one)] if id(one) in texts else next(found) for one in requests]

    def _said(self, requests: list[SeededInstance]) -> list[str]:
        wanted = [self._request(request) for request in requests]
        missing = [request for request in wanted if request.key not in self.known]
        done = in_vain = 0
        unanswered: Unanswered | None = None
        while done < len(missing):
            first = missing[done].question
            batch, answers, error = self.batch_size.run(
                partial(self._ask_from, missing, done),
                f"{first.task}, question {first.id}",
            )
            self._keep(batch, answers)
            done += len(batch)
            unanswered = unanswered or error
            in_vain = 0 if any(text for texts in answers for text in texts) else in_vain + 1
            if error and in_vain == GIVE_UP:
                break
        if unanswered:
            raise unanswered
        return [self.known[request.key] for request in wanted]

    def _request(self, instance: SeededInstance) -> Request:
        question = Question(**instance.doc)
        options = instance.args[1]
        sampling = Sampling(
            temperature=options["temperature"],
            top_p=options["top_p"],
            max_new_tokens=options["max_gen_toks"],
        )
        seed = instance.seed
        key = self.speaker.response_key(question, sampling, instance.idx, seed)
        return Request(key, question, sampling, instance.idx, seed)

    def _ask_from(
        self, requests: Sequence[Request], start: int, questions: int
    ) -> tuple[list[Request], Answers, Unanswered | None]:
        batch = _batch(requests, start, questions)
        groups = _by_question(batch)
        try:
            answers = self.speaker.asked.respond(
                [conversation_of(group[0].question) for group in groups],
                batch[0].sampling,
                [[request.seed for request in group] for group in groups],
            )
        except Unanswered as error:
            return batch, error.answers, error
        return batch, answers, None

    def _keep(self, batch: list[Request], answers: Answers) -> None:
        responses = [
            self._response(request, generated)
            for group, texts in zip(_by_question(batch), answers, strict=True)
            for request, generated in zip(group, texts, strict=True)
            if generated is not None
        ]
        self.known.update((response.key, response.text) for response in responses)
        self.on_responses(responses)

    def _response(self, request: Request, generated: Generated) -> Response:
        question = request.question
        return Response(
            key=request.key,
            model=self.speaker.model.name,
            method=self.speaker.method,
            seed=self.speaker.seed,
            task=question.task,
            task_version=question.task_version,
            mode=question.mode,
            kind=question.kind,
            category=question.category,
            question_id=question.id,
            sample=request.sample,
            sample_seed=request.seed,
            text=generated.text,
            truncated=generated.truncated,
        )


GIVE_UP = 2
"""Batches in a row without a single answer, after which a server is taken for down. One question
that it always refuses must not keep the others from being asked."""

Answers = Sequence[Sequence[Generated | None]]
"""[questions][samples]; None for a sample that could not be had."""


def _by_question(batch: list[Request]) -> list[list[Request]]:
    groups: dict[tuple[str, str], list[Request]] = {}
    for request in batch:
        groups.setdefault((request.question.task, request.question.id), []).append(request)
    return list(groups.values())


def _batch(requests: Sequence[Request], start: int, questions: int) -> list[Request]:
    """The requests from `start` on, up to `questions` questions that share their sampling."""
    batch: list[Request] = []
    seen: set[tuple[str, str]] = set()
    for request in itertools.islice(requests, start, None):
        name = (request.question.task, request.question.id)
        full = name not in seen and len(seen) == questions
        if batch and (full or request.sampling != batch[0].sampling):
            break
        batch.append(request)
        seen.add(name)
    return batch
