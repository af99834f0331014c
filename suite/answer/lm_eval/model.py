"""A LALM, with or without a defence, as an lm-eval model.

It answers Greaves' own tasks through `greaves.answer.asking`, and lm-eval's text tasks: what is
tokenised how, where context and continuation part, and what is put in front of an empty context is
left to lm-eval's own code, so that numbers are those of its `hf` model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import has_bos_prefix, normalize_gen_kwargs, resolve_max_length
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from greaves.align.defence import Defence
from greaves.answer.asking import Said, ask
from greaves.answer.lm_eval.tasks import SampleRequest
from greaves.base.conversation import Conversation
from greaves.base.errors import ModelError
from greaves.base.seeds import sample_seed
from greaves.models.contract import LALM, load_model
from greaves.models.out_of_memory import BatchSize
from greaves.models.text_scores import Drawing, before, generate, log_likelihoods
from greaves.models.transformers_lalm import TransformersLALM, opened_or_none

_UNDERSTOOD = {"until", "max_gen_toks", "do_sample", "temperature", "top_p"}
_NEEDLESS = {"use_cache", "num_beams", "seed"}
"""Options that lm-eval's tasks give and that change nothing here, as long as beams are one."""

MAX_NEW_TOKENS = 256
"""Where a task does not say; lm-eval's own default."""


@register_model("greaves")
class GreavesLM(TemplateLM):  # type: ignore[misc]
    """A LALM, with or without a defence, as an lm-eval model.

    A black box generates, but has no log-likelihoods.

    Args:
        model: name in Greaves' registry, or a LALM under its defence.
        defence: folder of a saved defence; none for vanilla.
        batch_size: conversations, or rows of text, at a time; halved where memory is short.
        say: takes a line where it was halved.
        device, model_args: passed to the model.
    """

    MULTIMODAL = True

    def __init__(
        self,
        model: str | LALM = "pocket",
        defence: str | None = None,
        batch_size: int | str = 16,
        *,
        say: Callable[[str], None] = lambda line: None,
        device: str | None = None,
        max_batch_size: int | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__()
        if isinstance(model, str):
            # lm-eval asks for cuda:0 unless told otherwise, whether there is one or not
            if device and (torch.cuda.is_available() or not device.startswith("cuda")):
                model_args["device"] = device
            loaded = Defence.load(Path(defence)) if defence else Defence()
            self._attached = ExitStack()  # for good
            model = self._attached.enter_context(loaded.attached(load_model(model, model_args)))
        self.model = model
        self.network = opened_or_none(model)
        size = max_batch_size or (int(batch_size) if str(batch_size).isdigit() else 16)
        self.batch_size = BatchSize(size, say)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Texts in the order of the requests, of Greaves' own tasks and of lm-eval's.

        Raises:
            ModelError: a text task asks for what is not offered, such as beams.
        """
        wanted = [one.sample if isinstance(one, SampleRequest) else None for one in requests]
        texts: dict[int, str] = {}

        def keep(said: list[Said]) -> None:
            texts.update((id(sample), generated.text) for sample, generated, _ in said)

        ask(self.model, [sample for sample in wanted if sample], self.batch_size, keep)
        theirs = [one for one, sample in zip(requests, wanted, strict=True) if not sample]
        found = iter(self._texts(theirs))  # one request may come several times
        return [texts[id(sample)] if sample else next(found) for sample in wanted]

    # -- text tasks ------------------------------------------------------------------------------

    def prompts(self, chat_template: bool) -> tuple[str | None, str | None]:
        """System prompt and suffix that a defence has attached; a black box adds its own.

        Where the chat template is used, the model's own system turn is in front.
        """
        if self.network is None:
            return None, None
        turn = self.model.as_asked(Conversation())
        return (self.network.under_system(turn) if chat_template else turn).system, turn.text

    @property
    def tokenizer(self) -> Any:
        """The model's; None for a black box."""
        return self.network.tokenizer if self.network else None

    @property
    def tokenizer_name(self) -> str:
        """For lm-eval's own cache of requests, which Greaves does not use."""
        return self.model.fingerprint

    @property
    def eot_token_id(self) -> int:
        end: int = self.tokenizer.eos_token_id
        return end

    @property
    def prefix_token_id(self) -> int:
        """What stands in front of an empty context: BOS, or the end of text where there is none."""
        first: int | None = self.tokenizer.bos_token_id
        return self.eot_token_id if first is None else first

    @property
    def max_length(self) -> int:
        """Tokens that the model reads at once; what is longer is cut on the left."""
        length: int = resolve_max_length(self._white_box().network.config, self.tokenizer)
        return length

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_options: Any
    ) -> list[int]:
        """Token ids, with BOS where the tokenizer puts one and the text has none."""
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        first = self.tokenizer.decode(self.prefix_token_id)
        if add_special_tokens is None and has_bos_prefix(string, first):
            options = {"add_special_tokens": False}
        ids: list[int] = self.tokenizer.encode(string, **options)
        return ids

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Turns as the checkpoint's own template writes them, under the defence's prompt suffix.

        A system turn that the template refuses is left out, as lm-eval's `hf` model does.

        Raises:
            ModelError: there is no template, or it does not take plain text.
        """
        if self.tokenizer is None:  # a black box has a template of its own on the server
            return "\n".join(turn["content"] for turn in chat_history)
        turns, (_, suffix) = [dict(turn) for turn in chat_history], self.prompts(True)
        if suffix:
            last = [turn for turn in turns if turn["role"] == "user"][-1]
            last["content"] = f"{last['content']} {suffix}"
        try:
            return self._templated(turns, add_generation_prompt)
        except jinja2.exceptions.TemplateError:
            rest = [turn for turn in turns if turn["role"] != "system"]
            return self._templated(rest, add_generation_prompt)

    def _templated(self, turns: list[dict[str, str]], add_generation_prompt: bool) -> str:
        processor = self._white_box().processor
        template = self.tokenizer.chat_template or getattr(processor, "chat_template", None)
        try:
            text: str = self.tokenizer.apply_chat_template(
                turns,
                chat_template=template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        except (ValueError, TypeError) as error:
            what = f"{self.model.name}: its chat template takes no text tasks ({error})"
            raise ModelError(what, do="say `chat_template: false`") from None
        return text

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], **_options: Any
    ) -> list[tuple[float, bool]]:
        model, pairs = self._white_box(), [(before, after) for _, before, after in requests]
        longest = self.max_length
        return self.batch_size.run(
            lambda rows: log_likelihoods(model, pairs, batch_size=rows, max_length=longest)
        )

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        self._white_box()
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        longest = self.max_length
        texts = [self.tok_encode(request.args[0]) for request in requests]
        rolling = partial(get_rolling_token_windows, context_len=1)
        windows = [
            [*map(make_disjoint_window, rolling(text, self.prefix_token_id, longest))]
            for text in texts
        ]
        flat = [(None, *window) for own in windows for window in own]
        scores = iter(self._loglikelihood_tokens(flat))
        return [sum(next(scores)[0] for _ in own) for own in windows]

    def _texts(self, requests: Sequence[Instance]) -> list[str]:
        """Text after each context, up to a stop string."""
        wanted: dict[Drawing, list[int]] = {}
        for number, request in enumerate(requests):
            wanted.setdefault(_drawing(request), []).append(number)
        seeds = _seeds(requests)
        texts: dict[int, str] = {}
        for drawing, own in wanted.items():
            contexts = [requests[number].args[0] for number in own]
            said = self._generated(contexts, drawing, [seeds[number] for number in own])
            texts |= dict(zip(own, said, strict=True))
        return [texts[number] for number in range(len(requests))]

    def _generated(self, contexts: list[str], drawing: Drawing, seeds: list[int]) -> list[str]:
        model = self.network
        if model is None:
            return self._responded(contexts, drawing, seeds)
        room = self.max_length - drawing.max_new_tokens
        if room < 1:
            most = f"the {self.max_length} that {model.name} reads"
            raise ModelError(f"{drawing.max_new_tokens} new tokens leave no room in {most}")
        prompts = [(self.tok_encode(text) or [self.prefix_token_id])[-room:] for text in contexts]
        answer = partial(generate, model, prompts, drawing, seeds)
        return self.batch_size.run(lambda rows: answer(batch_size=rows))

    def _responded(self, contexts: list[str], drawing: Drawing, seeds: list[int]) -> list[str]:
        """Answers of a black box, cut at the stop strings."""
        said, size = [], self.batch_size.size
        for start in range(0, len(contexts), size):
            turns = [Conversation(text=text) for text in contexts[start : start + size]]
            own = [[seed] for seed in seeds[start : start + size]]
            said += [answer.text for (answer,) in self.model.respond(turns, drawing, own)]
        return [before(text, drawing.until) for text in said]

    def _white_box(self) -> TransformersLALM:
        if self.network is not None:
            return self.network
        do = "leave out tasks that need them; those that generate text will do"
        raise ModelError(f"{self.model.name} is a black box: it gives no log-likelihoods", do=do)


def _drawing(request: Instance) -> Drawing:
    """How a task wants its text, in our words."""
    given = normalize_gen_kwargs(request.args[1], MAX_NEW_TOKENS)
    foreign = sorted(given.keys() - _UNDERSTOOD - _NEEDLESS)
    if foreign or given.get("num_beams", 1) != 1:
        needs = ", ".join(foreign) or "several beams"
        what = f"text task {request.task_name!r} generates with {needs}, which is not offered"
        do = "change its generation_kwargs in a YAML file of your own (include_path)"
        raise ModelError(what, do=do)
    sampled = given["do_sample"] and given.get("temperature", 1.0) > 0
    return Drawing(
        max_new_tokens=given["max_gen_toks"],
        temperature=float(given.get("temperature", 1.0)) if sampled else 0.0,
        top_p=float(given.get("top_p", 1.0)) if sampled else 1.0,
        until=tuple(given["until"]),
    )


def _seeds(requests: Sequence[Instance]) -> list[int]:
    """One per request: of task, document, and how often the request came before (`repeats`)."""
    count: Counter[tuple[Any, ...]] = Counter()
    found = []
    for request in requests:
        name, document = str(request.task_name), str(request.doc_id)
        place = (name, document, request.idx)
        found.append(sample_seed(0, name, document, 1000 * request.idx + count[place]))
        count[place] += 1
    return found
