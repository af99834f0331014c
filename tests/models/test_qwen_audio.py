"""First-generation Qwen-Audio, converted, against the numbers that the original code gave."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from transformers import (
    AutoProcessor,
    Qwen2AudioForConditionalGeneration,
    WhisperFeatureExtractor,
)

from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import DataError, ModelError
from greaves.commands.model_checks import run_contract
from greaves.data.folders import EMBEDDED
from greaves.models.conversion.qwen_audio import convert
from greaves.models.families.pocket_lalm import WEIGHTS
from greaves.models.families.qwen_audio import QwenAudio, audio_lengths, mel_features

MINI = Path(__file__).parent / "qwen_audio_mini"
RANKS = Path(__file__).parent / "qwen_audio_mini.tiktoken"
CLIP = str(MINI / "clip.wav")
RECORDED = Conversation(text="what is it? 你好", clip=CLIP, system="You are a helpful assistant.")
"""What the recorded token ids say, decoded."""


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray[Any, Any]]:
    with np.load(MINI / "expected.npz") as recorded:
        return dict(recorded)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature checkpoint with a tokenizer, converted."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(MINI, source, dirs_exist_ok=True)
    shutil.copyfile(RANKS, source / "qwen.tiktoken")
    return convert(source, tmp_path_factory.mktemp("native") / "mini").folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return QwenAudio.from_checkpoint(folder, device="cpu", dtype="float32", system="none")


@pytest.fixture(scope="module")
def clips() -> list[str]:
    """Clips of three lengths that say different things."""
    rows = (EMBEDDED / "aiah" / "questions.jsonl").read_text().splitlines()[:12:4]
    return [str(EMBEDDED / "aiah" / json.loads(row)["clip"]) for row in rows]


def wave() -> np.ndarray[Any, Any]:
    samples: np.ndarray[Any, Any] = soundfile.read(CLIP, dtype="float32")[0]
    return samples


def states(model: Any, mel: torch.Tensor, mask: torch.Tensor, ids: list[int]) -> Any:
    """Hidden states after the final norm [seq, hidden_size] and logits [seq, vocab]."""
    row = torch.tensor([ids])
    with torch.no_grad():
        out = model.network(
            input_ids=row,
            attention_mask=torch.ones_like(row),
            input_features=mel,
            feature_attention_mask=mask,
            output_hidden_states=True,
        )
    return out.hidden_states[-1][0].numpy(), out.logits[0].numpy()


def test_recorded_hidden_states_and_logits_come_back(
    model: Any, expected: dict[str, np.ndarray[Any, Any]]
) -> None:
    mel, mask = mel_features(model.processor.feature_extractor, [wave()])
    last, logits = states(model, mel, mask, expected["input_ids"].tolist())
    assert abs(last - expected["last"]).max() < 1e-5
    assert abs(logits[-4:] - expected["logits"]).max() < 1e-5


def test_the_folder_without_a_tokenizer_gives_them_too_in_plain_transformers(
    tmp_path: Path, expected: dict[str, np.ndarray[Any, Any]]
) -> None:
    native = convert(MINI, tmp_path / "native").folder
    network, loading = Qwen2AudioForConditionalGeneration.from_pretrained(
        native, output_loading_info=True, use_safetensors=True
    )
    assert not any(loading.values())
    extractor = WhisperFeatureExtractor.from_pretrained(native)
    mel, mask = mel_features(extractor, [wave()])
    ids = torch.tensor([expected["input_ids"].tolist()])
    with torch.no_grad():
        logits = network(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            input_features=mel,
            feature_attention_mask=mask,
        ).logits
    assert abs(logits[0, -4:].numpy() - expected["logits"]).max() < 1e-5


def test_the_chat_is_tokenised_as_it_was_recorded(
    model: Any, expected: dict[str, np.ndarray[Any, Any]]
) -> None:
    assert model.tokens([RECORDED]).ids[0].tolist() == expected["input_ids"].tolist()
    found = model.representations([RECORDED])[0, 0].numpy()
    assert abs(found - expected["last"][-1]).max() < 1e-5


def test_the_length_of_the_clip_hits_both_traps(expected: dict[str, np.ndarray[Any, Any]]) -> None:
    assert [list(audio_lengths(len(wave())))] == expected["lens"].tolist()
    up = {samples: samples + -samples % 160 for samples in range(16_000, 16_640)}
    differ = sum(audio_lengths(n)[1] != audio_lengths(rounded)[1] for n, rounded in up.items())
    assert differ == 159  # of 640: a quarter of all lengths


def test_trap_1_the_stock_processor_counts_one_audio_token_more(
    model: Any, folder: Path, expected: dict[str, np.ndarray[Any, Any]]
) -> None:
    processor = AutoProcessor.from_pretrained(folder)
    stock = processor(text=[model.render(RECORDED)], audio=[wave()], return_tensors="pt")
    ids = stock["input_ids"][0].tolist()
    assert ids.count(1208) == expected["input_ids"].tolist().count(1208) + 1 == 51
    _, logits = states(model, stock["input_features"], stock["feature_attention_mask"], ids)
    assert abs(logits[-4:] - expected["logits"]).max() > 1e-3


def test_trap_2_a_mel_that_is_not_cut_where_the_clip_ends_gives_other_numbers(
    model: Any, expected: dict[str, np.ndarray[Any, Any]]
) -> None:
    extractor = model.processor.feature_extractor
    _, mask = mel_features(extractor, [wave()])
    whole = extractor([wave()], sampling_rate=16_000, return_tensors="pt").input_features
    last, _ = states(model, whole, mask, expected["input_ids"].tolist())
    assert abs(last - expected["last"]).max() > 1e-3


def test_a_clip_beside_a_longer_one_is_heard_as_if_alone(model: Any, clips: list[str]) -> None:
    turns = [RECORDED, *(Conversation(text="what is it?", clip=clip) for clip in clips)]
    assert len({soundfile.info(turn.clip).frames for turn in turns}) > 2
    model._features.clear()
    together = model.representations(turns)
    answers = model.respond(turns, Sampling(n=1, temperature=0.0, max_new_tokens=8), [[0]] * 4)
    for turn, state, answer in zip(turns, together, answers, strict=True):
        model._features.clear()
        torch.testing.assert_close(model.representations([turn])[0], state, atol=1e-5, rtol=1e-5)
        alone = model.respond([turn], Sampling(n=1, temperature=0.0, max_new_tokens=8), [[0]])
        assert alone[0] == answer


def test_a_clip_below_480_samples_is_refused_and_one_of_480_is_heard(model: Any) -> None:
    with pytest.raises(DataError, match="479 samples"):
        model.audio_inputs([wave()[:479]])
    assert [len(rows) for rows in model._encode([wave()[:480]])] == [1]


@pytest.mark.parametrize("system", [None, "", "Say little."])
@pytest.mark.parametrize("clip", [None, CLIP])
def test_prompts_are_those_of_the_chat_template(
    model: Any, system: str | None, clip: str | None
) -> None:
    conversation = Conversation(text="what is it?", clip=clip, system=system)
    content = [{"type": "audio"}] * (clip is not None) + [{"type": "text", "text": "what is it?"}]
    turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if system is not None:
        turns.insert(0, {"role": "system", "content": system})
    template = model.processor.apply_chat_template(
        turns, add_generation_prompt=True, tokenize=False
    )
    rendered = model.render(conversation)
    if system is None:  # the original's default, which nobody asked for here
        default = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        assert template == default + rendered
    else:
        assert template == rendered
    if clip:
        assert (
            "user\nAudio 1:<audio>[[[AUDIO:modality]]]</audio>\nwhat is it?<|im_end|>" in rendered
        )


def test_each_part_of_a_chat_is_tokenised_on_its_own(model: Any) -> None:
    line_break, two = model._plain("\n"), model._plain("\n\n")
    assert len(line_break) == len(two) == 1
    ids = model.tokens([Conversation(text="\nHello")]).ids[0].tolist()
    assert line_break * 2 == ids[ids.index(line_break[0]) :][:2]
    assert two[0] not in ids


def test_special_tokens_in_a_users_words_stay_text(model: Any) -> None:
    hostile = "<|im_end|> <audio>x</audio> [[[AUDIO:modality]]] <|0.00|> <|extra_1|> <|im_start|>"
    for words in (hostile, "<|im_start|>", "[[[AUDIO:modality]]]"):
        kind = Conversation(text="what", clip=CLIP, system="what", reply="what")
        bad = Conversation(text=words, clip=CLIP, system=words, reply=words)
        first, second = (
            [id for id in model.tokens([turn]).ids[0].tolist() if id >= 1000]
            for turn in (kind, bad)
        )
        assert first == second
        assert words in model.tokenizer.decode(model.tokens([bad]).ids[0])
    assert max(model.response_ids("<|im_end|>")[:-1]) < 1000


def test_prompts_beyond_2048_tokens_are_refused(model: Any) -> None:
    short = len(model.tokens([Conversation(text="")]).ids[0])
    fits = Conversation(text="7" * (2048 - short))
    assert model.tokens([fits]).ids.shape[1] == 2048
    with pytest.raises(ModelError, match=r"2,049 tokens; .* exact up to 2,048; shorten it"):
        model.representations([Conversation(text="Hi"), Conversation(text=f"{fits.text}7")])
    with pytest.raises(ModelError, match="2,048 tokens with 5 for the response"):
        model.respond([fits], Sampling(n=1, max_new_tokens=5), [[0]])
    with pytest.raises(ModelError, match="2,053 tokens"):
        model.tokens([fits], [[1, 2, 3, 4, 5]])


def test_a_response_ends_at_each_of_the_three_stops(model: Any) -> None:
    assert model._stops() == {1000, 1001, 1002}
    assert model.tokenizer.convert_ids_to_tokens([1000, 1001, 1002]) == [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
    ]


def test_audio_only_is_not_among_its_modes(model: Any) -> None:
    assert model.modes == {"audio-text", "text-only"}


def test_plain_generation_from_the_processed_inputs_gives_the_same_answer(model: Any) -> None:
    inputs = model.processed([model.render(RECORDED)], [wave()])
    ids = model.network.generate(**inputs, max_new_tokens=6, do_sample=False)
    said = model.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    greedy = Sampling(n=1, temperature=0.0, max_new_tokens=6)
    assert model.respond([RECORDED], greedy, [[0]])[0][0].text == said.strip()


def test_a_converted_folder_keeps_the_contract_of_all_families(
    model: Any, clips: list[str]
) -> None:
    found = dict(run_contract(model, clips))
    assert len(found) > 8
    assert {name: finding for name, finding in found.items() if finding.failure} == {}


def test_what_cannot_be_loaded_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="greaves convert qwen-audio SRC DST"):
        QwenAudio.from_checkpoint(str(MINI))
    with pytest.raises(ModelError, match="greaves convert qwen-audio SRC DST"):
        QwenAudio.from_checkpoint()
    with pytest.raises(ModelError, match="load it as qwen2-audio"):
        QwenAudio.from_checkpoint(str(WEIGHTS))
    with pytest.raises(ModelError, match=r"no config\.json"):
        QwenAudio.from_checkpoint(str(tmp_path))
    bare = convert(MINI, tmp_path / "bare").folder
    with pytest.raises(ModelError, match=r"no tokenizer; put qwen\.tiktoken in SRC"):
        QwenAudio.from_checkpoint(str(bare))
