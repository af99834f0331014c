"""Requests that come together are answered together, one batch at a time; tokens are counted."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from greaves.base.conversation import Conversation
from greaves.base.errors import DataError, GreavesError
from greaves.commands.serving.protocol import Answered, ApiError, Asked
from greaves.models.contract import LALM, Generated
from greaves.models.transformers_lalm import opened_or_none

WINDOW = 0.01
"""Seconds that the first request of a batch waits for others."""

MOST_WAITING = 256
"""Requests; more are turned away with status 503."""


CHARACTERS = 20
"""Of a token at most, nearly always: a longer text is refused before it is cut into tokens."""


@dataclass(eq=False)
class _Job:
    asked: Asked
    done: asyncio.Future[Answered] = field(repr=False)


class Batcher:
    """The one place that asks the model.

    Args:
        model: its defence attached.
        folder: where clips lie while they are heard; each is removed after its batch.
        rows: samples in a batch.
    """

    def __init__(self, model: LALM, folder: Path, rows: int) -> None:
        self.model, self.folder, self.rows = model, folder, rows
        self._waiting: deque[_Job] = deque()
        self._arrived = asyncio.Event()

    async def answer(self, asked: Asked) -> Answered:
        """Answer a request with others; cancelled before its turn, it is not answered at all.

        Raises:
            ApiError: too many wait (503), or the model refuses the request (400) or fails (500).
        """
        if len(self._waiting) >= MOST_WAITING:
            raise ApiError(503, "too many requests are waiting", code="busy", retry_after=1)
        job = _Job(asked, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._arrived.set()
        return await job.done

    async def work(self) -> None:
        """Answer what comes, until cancelled."""
        while True:
            await self._arrived.wait()
            await asyncio.sleep(WINDOW)
            batch = self._next()
            if batch:
                # In a thread, so that others are heard meanwhile; one at a time, as the model is.
                outcomes = await asyncio.to_thread(self._answer_all, [job.asked for job in batch])
                for job, outcome in zip(batch, outcomes, strict=True):
                    _settle(job, outcome)

    def _next(self) -> list[_Job]:
        """The oldest requests that share their sampling, as many as fit."""
        batch: list[_Job] = []
        rows = 0
        for job in list(self._waiting):
            if job.done.cancelled():
                self._waiting.remove(job)
                continue
            alike = not batch or job.asked.sampling == batch[0].asked.sampling
            if alike and (not batch or rows + len(job.asked.seeds) <= self.rows):
                self._waiting.remove(job)
                batch.append(job)
                rows += len(job.asked.seeds)
        if not self._waiting:
            self._arrived.clear()
        return batch

    def _answer_all(self, batch: Sequence[Asked]) -> list[Answered | Exception]:
        try:
            return list(self._answered(batch))
        except Exception as error:  # whatever it is, it is told to whoever asked
            if len(batch) == 1:
                return [error]
        # One of them is at fault: the others need not suffer for it.
        return [outcome for asked in batch for outcome in self._answer_all([asked])]

    def _answered(self, batch: Sequence[Asked]) -> list[Answered]:
        clips: dict[bytes, Path] = {}
        try:
            for asked in batch:
                if asked.clip is not None and asked.clip not in clips:
                    name = hashlib.sha256(asked.clip).hexdigest()
                    clips[asked.clip] = self.folder / f"{name}.wav"
                    clips[asked.clip].write_bytes(asked.clip)
            # Samples of one question come as requests of their own: it is prefilled once for all.
            seeds: dict[Conversation, list[int]] = {}
            places: list[tuple[Conversation, int]] = []
            for asked in batch:
                clip = str(clips[asked.clip]) if asked.clip is not None else None
                turn = Conversation(asked.text, clip, asked.system)
                check_length(self.model, turn, asked.sampling.max_new_tokens)
                places.append((turn, len(seeds.setdefault(turn, []))))
                seeds[turn] += asked.seeds
            turns = list(seeds)
            texts = self.model.respond(turns, batch[0].sampling, [seeds[turn] for turn in turns])
            said = dict(zip(turns, texts, strict=True))
            return [
                counted(self.model, turn, said[turn][start : start + len(asked.seeds)])
                for (turn, start), asked in zip(places, batch, strict=True)
            ]
        finally:
            for path in clips.values():
                path.unlink(missing_ok=True)


def _settle(job: _Job, outcome: Answered | Exception) -> None:
    if job.done.done():  # whoever asked has hung up
        return
    if isinstance(outcome, Answered):
        job.done.set_result(outcome)
    elif isinstance(outcome, DataError):  # without `where`: it names a file of ours
        job.done.set_exception(ApiError(400, "; ".join(filter(None, (outcome.what, outcome.do)))))
    elif isinstance(outcome, GreavesError):
        job.done.set_exception(ApiError(500, str(outcome)))
    else:
        line = " ".join(f"{type(outcome).__name__}: {outcome}".split())[:300]
        job.done.set_exception(ApiError(500, f"the model failed ({line})"))


def check_length(model: LALM, conversation: Conversation, new: int) -> None:
    """Refuse a text that the model has no positions for: attention takes the square of its length.

    Args:
        model: one that is behind a server itself is left to check on its own.
        conversation: its text and system prompt count.
        new: tokens that may be written in answer.

    Raises:
        DataError: it is too long.
    """
    inner = opened_or_none(model)
    if inner is None:
        return
    positions = inner.network.config.get_text_config().max_position_embeddings
    text = f"{conversation.system or ''}\n{conversation.text or ''}"
    if len(text) > CHARACTERS * positions:
        raise DataError(f"the text has {len(text):,} characters, too many for {positions:,} tokens")
    tokens = len(inner.tokenizer(text, add_special_tokens=False)["input_ids"])
    if tokens + new > positions:
        raise DataError(f"{tokens:,} tokens and {new:,} new ones are more than {positions:,}")


def counted(model: LALM, conversation: Conversation, answers: Sequence[Generated]) -> Answered:
    """Answers with the tokens of the prompt, attached prompts and audio included, and of them all.

    An answer that was not cut off has one more than its text, which ended it. Zeros for a model
    without a tokenizer, such as one that is behind a server itself.
    """
    inner = opened_or_none(model)
    if inner is None:
        return Answered(answers, 0, 0)
    prompt = int(inner.tokens([model.as_asked(conversation)]).mask.sum())
    texts = [inner.tokenizer(one.text, add_special_tokens=False)["input_ids"] for one in answers]
    ends = sum(not answer.truncated for answer in answers)
    return Answered(answers, prompt, sum(map(len, texts)) + ends)
