"""Text requests of lm-eval's own tasks: log-likelihoods and generation, without a clip.

What is tokenised how, where context and continuation part, and what is put in front of an empty
context is left to lm-eval's own code, so that numbers are those of its `hf` model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import jinja2
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import has_bos_prefix, normalize_gen_kwargs, resolve_max_length
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import ModelError
from greaves.base.seeds import sample_seed
from greaves.models.contract import LALM
from greaves.models.out_of_memory import BatchSize
from greaves.models.text_scores import Drawing, before, generate, log_likelihoods
from greaves.models.transformers_lalm import TransformersLALM, opened_or_none

_UNDERSTOOD = {"until", "max_gen_toks", "do_sample", "temperature", "top_p"}
_NEEDLESS = {"use_cache", "num_beams", "seed"}
"""Options that lm-eval's tasks give and that change nothing here, as long as beams are one."""

MAX_NEW_TOKENS = 256
"""Where a task does not say; lm-eval's own default."""


class TextRequests(TemplateLM):  # type: ignore[misc]
    """The half of the `greaves` model that answers lm-eval's own text tasks.

    Args:
        model: under its defence. A black box generates, but has no log-likelihoods.
        batch_size: rows at a time.
    """

    def __init__(self, model: LALM, batch_size: BatchSize) -> None:
        super().__init__()
        self.model, self.batch_size = model, batch_size
        self.network = opened_or_none(model)

    def system(self, chat_template: bool) -> str | None:
        """The system prompt that a defence has attached, after the model's own where its chat
        template is used; None for a black box, which adds them."""
        if self.network is None:
            return None
        turn = self.model.as_asked(Conversation())
        return (self.network.under_system(turn) if chat_template else turn).system

    @property
    def suffix(self) -> str | None:
        """The text after the user's words that a defence has attached; None for a black box."""
        return self.model.as_asked(Conversation()).text if self.network else None

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
        """Id of the end of text."""
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
        if add_special_tokens is None and has_bos_prefix(
            string, self.tokenizer.decode(self.prefix_token_id)
        ):
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
        turns = [dict(turn) for turn in chat_history]
        if self.suffix:
            last = [turn for turn in turns if turn["role"] == "user"][-1]
            last["content"] = f"{last['content']} {self.suffix}"
        try:
            return self._templated(turns, add_generation_prompt)
        except jinja2.exceptions.TemplateError:
            rest = [turn for turn in turns if turn["role"] != "system"]
            return self._templated(rest, add_generation_prompt)

    def _templated(self, turns: list[dict[str, str]], add_generation_prompt: bool) -> str:
        template = self.tokenizer.chat_template or getattr(
            self._white_box().processor, "chat_template", None
        )
        try:
            text: str = self.tokenizer.apply_chat_template(
                turns,
                chat_template=template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        except (ValueError, TypeError) as error:
            raise ModelError(
                f"{self.model.name}: its chat template takes no text tasks ({error})",
                do="say `chat_template: false`",
            ) from None
        return text

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Log-likelihood of each continuation, and whether it is the greedy one."""
        self._white_box()
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], **_options: Any
    ) -> list[tuple[float, bool]]:
        return self.batch_size.run(
            lambda rows: log_likelihoods(
                self._white_box(),
                [(context, continuation) for _, context, continuation in requests],
                batch_size=rows,
                max_length=self.max_length,
            )
        )

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-likelihood of each whole text, in windows of the model's length."""
        self._white_box()
        windows = [
            [
                make_disjoint_window(window)
                for window in get_rolling_token_windows(
                    token_list=self.tok_encode(request.args[0]),
                    prefix_token=self.prefix_token_id,
                    max_seq_len=self.max_length,
                    context_len=1,
                )
            ]
            for request in requests
        ]
        flat = [(None, *window) for own in windows for window in own]
        scores = iter(self._loglikelihood_tokens(flat))
        return [sum(next(scores)[0] for _ in own) for own in windows]

    def generate_texts(self, requests: Sequence[Instance]) -> list[str]:
        """Text after each context, up to a stop string.

        Raises:
            ModelError: a task asks for what is not offered, such as beams.
        """
        options = [_drawing(request) for request in requests]
        seeds = _seeds(requests)
        texts: dict[int, str] = {}
        for drawing in dict.fromkeys(options):
            own = [number for number, one in enumerate(options) if one == drawing]
            contexts = [requests[number].args[0] for number in own]
            said = self._generated(contexts, drawing, [seeds[number] for number in own])
            texts |= dict(zip(own, said, strict=True))
        return [texts[number] for number in range(len(requests))]

    def _generated(self, contexts: list[str], drawing: Drawing, seeds: list[int]) -> list[str]:
        model = self.network
        if model is None:
            sampling = Sampling(
                temperature=drawing.temperature,
                top_p=drawing.top_p,
                max_new_tokens=drawing.max_new_tokens,
            )
            said = []
            size = self.batch_size.size
            for start in range(0, len(contexts), size):
                turns = [Conversation(text=text) for text in contexts[start : start + size]]
                own = [[seed] for seed in seeds[start : start + size]]
                said += [answer.text for (answer,) in self.model.respond(turns, sampling, own)]
            return [before(text, drawing.until) for text in said]
        room = self.max_length - drawing.max_new_tokens
        if room < 1:
            raise ModelError(
                f"{drawing.max_new_tokens} new tokens leave no room in the {self.max_length} that"
                f" {self.model.name} reads"
            )
        prompts = [(self.tok_encode(text) or [self.prefix_token_id])[-room:] for text in contexts]
        return self.batch_size.run(
            lambda rows: generate(model, prompts, drawing, seeds, batch_size=rows)
        )

    def _white_box(self) -> TransformersLALM:
        if self.network is not None:
            return self.network
        raise ModelError(
            f"{self.model.name} is a black box: it gives no log-likelihoods",
            do="leave out tasks that need them; those that generate text will do",
        )


def _drawing(request: Instance) -> Drawing:
    """How a task wants its text, in our words."""
    given = normalize_gen_kwargs(request.args[1], MAX_NEW_TOKENS)
    foreign = sorted(given.keys() - _UNDERSTOOD - _NEEDLESS)
    if foreign or given.get("num_beams", 1) != 1:
        raise ModelError(
            f"text task {request.task_name!r} generates with"
            f" {', '.join(foreign) or 'several beams'}, which is not offered",
            do="change its generation_kwargs in a YAML file of your own (include_path)",
        )
    sampled = given["do_sample"] and given.get("temperature", 1.0) > 0
    return Drawing(
        max_new_tokens=given["max_gen_toks"],
        temperature=float(given.get("temperature", 1.0)) if sampled else 0.0,
        top_p=float(given.get("top_p", 1.0)) if sampled else 1.0,
        until=tuple(given["until"]),
    )


def _seeds(requests: Sequence[Instance]) -> list[int]:
    """One a request: of task, document, and how often the request came before (`repeats`)."""
    count: Counter[tuple[Any, ...]] = Counter()
    found = []
    for request in requests:
        place = (request.task_name, request.doc_id, request.idx)
        found.append(
            sample_seed(0, str(place[0]), str(place[1]), 1000 * request.idx + count[place])
        )
        count[place] += 1
    return found
