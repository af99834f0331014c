"""Classifiers of responses as networks: those that generate a verdict, and those with labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from greaves.base.errors import ModelError
from greaves.judge.classifier_presets import Finding, Preset, UnreadableOutputError
from greaves.judge.quoting import defused

ANY_LENGTH = 1 << 20
"""Tokenizers without a longest input give an astronomic number instead."""

_SHOWN = 60


class Reader(Protocol):
    """A loaded classifier."""

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[Finding | None, str]]:
        """(finding or None, words) of each (question, response), in one batch."""


class Generating:
    """A causal language model that writes its verdict, greedily.

    Args:
        folder: checkpoint; safetensors only, no remote code.
        preset: its prompt, and how its output is read.
        device: see `greaves.models.loading.available`; None takes the first GPU if there is one.
        dtype: name of a torch dtype.

    Raises:
        ModelError: the folder holds no such model, or there is no such device.
    """

    def __init__(self, folder: Path, preset: Preset, device: str | None, dtype: str) -> None:
        from transformers import AutoModelForCausalLM

        self._preset = preset
        self._network, self._tokenizer = _loaded(folder, AutoModelForCausalLM, device, dtype)
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token_id is None:  # Llama has none; it is masked out anyway
            self._tokenizer.pad_token = self._tokenizer.eos_token

    def prompt(self, question: str, response: str) -> str:
        """The exact text the classifier reads."""
        cut = self._cut(defused(response))
        places = {"question": defused(question), "response": cut}
        head, _, tail = self._preset.prompt.partition("{question}")
        middle, _, end = tail.partition("{response}")
        return f"{head}{places['question']}{middle}{places['response']}{end}"

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[Finding | None, str]]:
        import torch
        from transformers import GenerationConfig

        batch = self._tokenizer(
            [self.prompt(*pair) for pair in pairs],
            return_tensors="pt",
            padding=True,
            add_special_tokens=self._preset.begins,
            return_token_type_ids=False,
        ).to(self._network.device)
        greedy = GenerationConfig(
            max_new_tokens=self._preset.new_tokens,
            do_sample=False,
            pad_token_id=self._tokenizer.pad_token_id,
            eos_token_id=self._network.generation_config.eos_token_id
            or self._tokenizer.eos_token_id,
        )
        with torch.inference_mode():
            written = self._network.generate(**batch, generation_config=greedy)
        outputs = self._tokenizer.batch_decode(
            written[:, batch["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return [self._finding(output) for output in outputs]

    def _finding(self, output: str) -> tuple[Finding | None, str]:
        try:
            return self._preset.read(output)
        except UnreadableOutputError as error:
            return None, f"{error} in {output[:_SHOWN]!r}"

    def _cut(self, text: str) -> str:
        if self._preset.characters is not None:
            text = text[: self._preset.characters]
        if self._preset.tokens is not None:
            text = _first_tokens(self._tokenizer, text, self._preset.tokens)
        return text


class Labelling:
    """A sequence classifier: one label per response.

    Args:
        folder: checkpoint; safetensors only, no remote code.
        labels: name or number of a label -> finding; other labels leave a response unscored.
        pair: it reads question and response; else the response alone.
        device: as for `Generating`.
        dtype: name of a torch dtype.

    Raises:
        ModelError: as for `Generating`, or the classifier has no such label.
    """

    def __init__(
        self,
        folder: Path,
        labels: Mapping[str, Finding],
        pair: bool,
        device: str | None,
        dtype: str,
    ) -> None:
        from transformers import AutoModelForSequenceClassification

        self._pair = pair
        self._network, self._tokenizer = _loaded(
            folder, AutoModelForSequenceClassification, device, dtype
        )
        names: dict[int, str] = self._network.config.id2label
        known = {str(number): number for number in names}
        known |= {name: number for number, name in names.items()}
        for label in labels:
            if label not in known:
                raise ModelError(
                    f"the classifier has no label {label!r}",
                    where=str(folder),
                    do=f"it has: {', '.join(names.values())}",
                )
        self._names = names
        self._findings = {known[label]: finding for label, finding in labels.items()}
        places = getattr(self._network.config, "max_position_embeddings", None) or ANY_LENGTH
        # RoBERTa counts positions from 2.
        self._longest = min(self._tokenizer.model_max_length, max(places - 2, 1), ANY_LENGTH)

    def read(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[Finding | None, str]]:
        import torch

        questions, responses = (
            [defused(text) for text in side] for side in zip(*pairs, strict=True)
        )
        texts = (questions, responses) if self._pair else (responses,)
        batch = self._tokenizer(
            *texts,
            return_tensors="pt",
            padding=True,
            truncation="only_second" if self._pair else True,
            max_length=self._longest,
        ).to(self._network.device)
        with torch.inference_mode():
            shares = self._network(**batch).logits.float().softmax(-1)
        best, number = shares.max(-1)
        return [
            self._finding(number, share)
            for number, share in zip(number.tolist(), best.tolist(), strict=True)
        ]

    def _finding(self, number: int, share: float) -> tuple[Finding | None, str]:
        words = f"{self._names[number]} ({share:.2f})"
        finding = self._findings.get(number)
        return finding, words if finding else f"label {words} stands for no outcome"


def batches(pairs: Sequence[tuple[str, str]], size: int) -> Iterator[list[int]]:
    """Places of `pairs`, `size` at a time, those of like length together: less padding."""
    order = sorted(range(len(pairs)), key=lambda place: sum(map(len, pairs[place])))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _loaded(folder: Path, kind: Any, device: str | None, dtype: str) -> tuple[Any, Any]:
    """Network, in evaluation mode, and tokenizer of a checkpoint."""
    from transformers import AutoTokenizer

    from greaves.models.loading import (
        check_files,
        computing,
        one_line,
        pretrained,
        pretrained_network,
    )

    check_files(folder)
    place, number = computing(device, dtype)
    with one_line("not the checkpoint of a classifier", folder):
        network = pretrained_network(kind, folder, number)
        tokenizer = pretrained(AutoTokenizer, folder)
    return network.to(place).eval(), tokenizer


def _first_tokens(tokenizer: Any, text: str, count: int) -> str:
    """The text up to the end of its token number `count`."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) <= count:
        return text
    if not tokenizer.is_fast:
        return str(tokenizer.decode(ids[:count], skip_special_tokens=True))
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return text[: spans["offset_mapping"][count - 1][1]]
