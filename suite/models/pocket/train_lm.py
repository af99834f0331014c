"""Stages of the language model: on text and pseudo-audio, then on features of real clips.

Only the target's tokens carry loss; the verb and the object, by which an answer is judged, count
three times.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen2AudioForConditionalGeneration

from greaves.data.pocket.grammar import FORMS, Question, spoken_words
from greaves.data.pocket.lexicon import FACTS, OBJECTS, VERBS, Pair
from greaves.models.pocket.architecture import TURN_END
from greaves.models.pocket.optimisers import Optimisers
from greaves.models.pocket.samples import Content, Sample, spoken_sample, written_sample

log = logging.getLogger(__name__)

_CONTENT_WEIGHT = 3.0
_WRITTEN_SHARE = 0.28
_EMPTY_AUDIO_SHARE = 0.12


@dataclass(frozen=True)
class Drawn:
    """A training sample with its audio features.

    Attributes:
        sample: prompt and target.
        features: audio features [audio tokens, hidden size]; None without audio.
    """

    sample: Sample
    features: torch.Tensor | None


Draw = Callable[[random.Random], Drawn]


@dataclass(frozen=True)
class PseudoAudio:
    """Draws samples whose audio slots hold noisy word embeddings, like a perfect encoder's.

    Attributes:
        tokenizer: the pocket tokenizer.
        embeddings: the frozen token embeddings [vocabulary, hidden size].
        blank: id of `<|AUDIO|>`.
        pairs: pairs that questions may ask for.
    """

    tokenizer: PreTrainedTokenizerFast
    embeddings: torch.Tensor
    blank: int
    pairs: Sequence[Pair]

    def __call__(self, chooser: random.Random) -> Drawn:
        content = draw_content(self.pairs, chooser)
        if chooser.random() >= _WRITTEN_SHARE:
            ids = self.tokenizer.encode(" " + spoken_words(content.text))
            return Drawn(spoken_sample(content, "", chooser), self.features(ids, chooser))
        empty = chooser.random() < _EMPTY_AUDIO_SHARE
        sample = written_sample(content, empty, chooser)
        return Drawn(sample, self.features([], chooser) if empty else None)

    def features(self, ids: Sequence[int], chooser: random.Random) -> torch.Tensor:
        """Each word once or twice, blanks around it, all rescaled and with noise."""
        slots: list[int] = []
        for token in ids:
            slots += [self.blank] * chooser.randrange(1, 6) + [token] * chooser.randrange(1, 3)
        slots += [self.blank] * chooser.randrange(2, 30 if not ids else 5)
        rows = self.embeddings[slots]
        scale = 0.8 + 0.8 * torch.rand(len(slots), 1)
        found: torch.Tensor = rows * scale + torch.randn(rows.shape) * 0.03
        return found


@dataclass(frozen=True)
class RealAudio:
    """Draws samples with the encoder's features of training clips.

    Attributes:
        contents: what each clip says.
        sexes: of each clip's voice.
        features: of each clip [audio tokens, hidden size].
        empty: features of clips that say nothing.
        pairs: pairs that written questions may ask for.
    """

    contents: Sequence[Content]
    sexes: Sequence[str]
    features: Sequence[torch.Tensor]
    empty: Sequence[torch.Tensor]
    pairs: Sequence[Pair]

    def __call__(self, chooser: random.Random) -> Drawn:
        if chooser.random() >= _WRITTEN_SHARE:
            clip = chooser.randrange(len(self.contents))
            sample = spoken_sample(self.contents[clip], self.sexes[clip], chooser)
            return Drawn(sample, self.features[clip].float())
        empty = chooser.random() < _EMPTY_AUDIO_SHARE
        sample = written_sample(draw_content(self.pairs, chooser), empty, chooser)
        return Drawn(sample, chooser.choice(self.empty).float() if empty else None)


def draw_content(pairs: Sequence[Pair], chooser: random.Random) -> Content:
    """A question of the grammar, or now and then a fact."""
    if chooser.random() < 0.08:
        fact = chooser.choice(FACTS)
        return Content(chooser.choice(fact.questions), fact)
    pair = chooser.choice(pairs)
    return Content(Question(pair, chooser.randrange(len(FORMS))).text, pair)


def train_language_model(
    model: Qwen2AudioForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    draw: Draw,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
) -> list[dict[str, float]]:
    """Trains the language model (not its input embeddings) and the output head in place.

    Args:
        model, tokenizer: the pocket LALM and its tokenizer.
        draw: source of samples, which `seed` decides.
        steps: of the optimiser, with `batch` samples each.
        rate: peak learning rate of the matrices.

    Returns:
        One row of figures every 100 steps: mean loss of all target tokens, share of right greedy
        verb and object tokens in answers and repetitions (teacher-forced).
    """
    chooser = random.Random(seed)
    torch.manual_seed(seed)
    embed = model.get_input_embeddings()
    body = model.model.language_model
    named = [(n, p) for n, p in body.named_parameters("body") if "embed_tokens" not in n]
    named += list(model.get_output_embeddings().named_parameters("head"))
    optimisers = Optimisers(named, rate, 0.4 * rate, steps)
    content_ids = torch.zeros(len(tokenizer), dtype=torch.bool)
    content_ids[tokenizer.convert_tokens_to_ids([f"Ġ{w}" for w in (*VERBS, *OBJECTS)])] = True
    rows: list[dict[str, float]] = []
    ready: list[list[Drawn]] = []
    began = time.monotonic()
    for step in range(1, steps + 1):
        if not ready:
            ready = draw_batches(draw, batch, chooser)
        inputs, labels = collate(ready.pop(), tokenizer, embed.weight.detach())
        hidden = body(inputs_embeds=inputs, use_cache=False).last_hidden_state
        asked = labels[:, 1:] >= 0
        logits = model.get_output_embeddings()(hidden[:, :-1][asked]).float()
        wanted = labels[:, 1:][asked]
        weights = 1.0 + (_CONTENT_WEIGHT - 1.0) * content_ids[wanted]
        losses = functional.cross_entropy(logits, wanted, reduction="none")
        torch.autograd.backward((losses * weights).sum() / weights.sum())
        optimisers.step()
        if step % 100 == 0 or step == steps:
            asks = content_ids[wanted]
            right = (logits.argmax(-1) == wanted)[asks].float().mean().item()
            row = {"step": step, "loss": losses.mean().item(), "echoed": right}
            row["seconds"] = round(time.monotonic() - began, 1)
            log.info("language model %s", json.dumps(row))
            rows.append(row)
    return rows


def draw_batches(draw: Draw, size: int, chooser: random.Random) -> list[list[Drawn]]:
    """Eight batches of samples, of like length within a batch, in random order."""

    def length(each: Drawn) -> int:
        written = f"{each.sample.before_audio}{each.sample.after_audio}{each.sample.target}"
        return written.count(" ") + (0 if each.features is None else len(each.features))

    drawn = sorted((draw(chooser) for _ in range(8 * size)), key=length)
    batches = [drawn[start : start + size] for start in range(0, len(drawn), size)]
    chooser.shuffle(batches)
    return batches


def collate(
    drawn: Sequence[Drawn], tokenizer: PreTrainedTokenizerFast, embeddings: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Lays samples out with padding on the right, where causal attention never looks.

    Returns:
        Input embeddings [samples, positions, hidden size] and labels [samples, positions], -100
        outside targets.
    """
    texts: list[str] = []
    for sample in (each.sample for each in drawn):
        texts += [sample.before_audio, sample.after_audio, sample.target + TURN_END]
    ids = [torch.tensor(found) for found in tokenizer(texts)["input_ids"]]
    inputs, labels = [], []
    for number, each in enumerate(drawn):
        before, after, target = ids[3 * number : 3 * number + 3]
        audio = [] if each.features is None else [each.features.to(embeddings.dtype)]
        parts = [embeddings[before], *audio, embeddings[after]]
        inputs.append(torch.cat([*parts, embeddings[target]]))
        labels.append(torch.cat([torch.full((sum(map(len, parts)),), -100), target]))
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(inputs, batch_first=True), pad(labels, batch_first=True, padding_value=-100)
