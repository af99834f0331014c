"""A model with something put around it: what every model offers, servers too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
from torch import Tensor

from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import ModelError
from greaves.base.seeds import sample_seed
from greaves.data.speech.clips import clip_hash, load_clip
from greaves.models.contract import LALM, Generated, Seeds, Unanswered
from greaves.models.points import RATE, AnswerChange, ClipChange, ConversationChange

Ask = Callable[[Sequence[Conversation], Seeds], list[list[Generated]]]
"""(conversations, seeds) -> answers, as `LALM.respond` gives them."""


def _of_inner(name: str) -> Any:
    return property(lambda self: getattr(self.inner, name))


class WrappedLALM(LALM):
    """A model around another one: whatever is not changed here is the inner model's.

    Wrapped again, the changes are joined: turns pass all of them in the order in which they were
    put on, then the model is asked, then its drafts pass the changes of answers in the same order.

    Args:
        model: the model that is wrapped.
        conversation: changes a turn before it is asked; None leaves it.
        answer: changes a draft before it is returned; None leaves it.
    """

    innermost, usage = _of_inner("innermost"), _of_inner("usage")
    keep_features = _of_inner("keep_features")
    changed, decoder_layers = _of_inner("changed"), _of_inner("decoder_layers")
    refusal_token_id, output_row = _of_inner("refusal_token_id"), _of_inner("output_row")

    def __init__(
        self,
        model: LALM,
        *,
        conversation: ConversationChange | None = None,
        answer: AnswerChange | None = None,
    ) -> None:
        self.inner = model
        self._conversations = [conversation] if conversation else []
        self._answers = [answer] if answer else []
        if type(model) is WrappedLALM:
            self.inner = model.inner
            self._conversations = [*model._conversations, *self._conversations]
            self._answers = [*model._answers, *self._answers]
        self.name, self.revision, self.fingerprint = model.name, model.revision, model.fingerprint
        self.white_box, self.points, self.modes = model.white_box, model.points, model.modes

    def render(self, conversation: Conversation) -> str:
        return self.inner.render(self._changed(conversation))

    def respond(
        self, conversations: Sequence[Conversation], sampling: Sampling, seeds: Seeds
    ) -> list[list[Generated]]:
        def model(turns: Sequence[Conversation], seeds: Seeds) -> list[list[Generated]]:
            return self.inner.respond(self._all(turns), sampling, seeds)

        ask: Ask = model
        for guard in self._answers:
            ask = partial(_guarded, guard, ask)
        return ask(conversations, seeds)

    def _changed(self, conversation: Conversation) -> Conversation:
        for change in self._conversations:
            conversation = change(conversation)
        return conversation

    def _all(self, conversations: Sequence[Conversation]) -> list[Conversation]:
        return [self._changed(conversation) for conversation in conversations]

    def as_asked(self, conversation: Conversation) -> Conversation:
        return self.inner.as_asked(self._changed(conversation))

    @property
    def changes_answers(self) -> bool:
        return bool(self._answers) or self.inner.changes_answers

    def representations(
        self, conversations: Sequence[Conversation], layers: Sequence[int] | None = None
    ) -> Tensor:
        return self.inner.representations(self._all(conversations), layers)

    def layer_outputs(self, *forms: Sequence[Conversation]) -> Tensor:
        return self.inner.layer_outputs(*(self._all(form) for form in forms))


def _guarded(
    guard: AnswerChange, ask: Ask, conversations: Sequence[Conversation], seeds: Seeds
) -> list[list[Generated]]:
    """What `ask` drafts, after one guard."""
    failed: Unanswered | None = None
    try:
        drafts: Sequence[Sequence[Generated | None]] = ask(conversations, seeds)
    except Unanswered as error:
        drafts, failed = error.answers, error
    answers: list[list[Generated | None]] = []
    for turn, own, said in zip(conversations, seeds, drafts, strict=True):
        answers.append([])
        for seed, draft in zip(own, said, strict=True):
            final = None
            try:
                if draft is not None:
                    final = _final(guard, ask, turn, draft, seed)
            except Unanswered as error:
                failed = error
            answers[-1].append(final)
    if failed:
        raise Unanswered(failed.what, answers, do=failed.do)
    return [[one for one in own if one] for own in answers]


def _final(
    guard: AnswerChange, ask: Ask, turn: Conversation, draft: Generated, seed: int
) -> Generated:
    """The draft after one guard; what it asked again is part of its cost."""
    spent = [draft]

    def ask_again(conversation: Conversation) -> str:
        own = sample_seed(seed, "ask again", "", len(spent))
        spent.extend(ask([conversation], [[own]])[0])
        return spent[-1].text

    return Generated(
        guard(turn, draft.text, ask_again),
        draft.truncated,
        _sum(one.prompt_tokens for one in spent),
        _sum(one.new_tokens for one in spent),
        sum(one.calls for one in spent),
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    """None where one of them is not known."""
    known = list(counts)
    return None if None in known else sum(one for one in known if one)


@contextmanager
def clips_changed(change: ClipChange) -> Iterator[ConversationChange]:
    """A change of conversations that passes their clips through `change`, each clip once.

    Changed clips are written as float WAV files, so a model behind a server hears them too; they
    are deleted when the context is left.

    Args:
        change: gets 16 kHz samples; its seed depends on the clip's bytes alone.

    Raises:
        DataError: a clip is missing or broken.
        ModelError: the change gives something other than finite samples.
    """
    with TemporaryDirectory(prefix="greaves-clips-") as folder:

        def changed(conversation: Conversation) -> Conversation:
            if conversation.clip is None:
                return conversation
            key = clip_hash(conversation.clip)
            path = Path(folder) / f"{key}.wav"
            if not path.is_file():
                made = change(load_clip(conversation.clip, RATE), RATE, int(key[:15], 16))
                wave = np.asarray(made, np.float32)
                if wave.ndim != 1 or not np.isfinite(wave).all():
                    what = f"a part changed the clip to {[*wave.shape]} samples, not finite ones"
                    do = "return finite samples, [samples]"
                    raise ModelError(what, where=conversation.clip, do=do)
                soundfile.write(path, wave, RATE, subtype="FLOAT")
            return replace(conversation, clip=str(path))

        yield changed
