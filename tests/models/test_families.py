"""Every family keeps one contract, and each does what is its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_families import FAMILIES

from greaves.align.parts.steering import Steering
from greaves.align.training.network import lora_modules
from greaves.base.conversation import Conversation
from greaves.base.errors import DataError, ModelError
from greaves.commands.measuring import Finding
from greaves.commands.model_checks import CHECKS
from greaves.data.speech.clips import load_clip
from greaves.models.audio_text_processor import whisper_features
from greaves.models.families.phi4_multimodal import Phi4Multimodal
from greaves.models.transformers_lalm import TransformersLALM

pytest_plugins = ("family_fixtures",)

Tiny = Callable[[str], TransformersLALM]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_keeps_the_contract(
    tiny: Tiny, clips: Sequence[str], name: str, check: str
) -> None:
    finding = CHECKS[check](tiny(name), clips)
    if (name, check) == ("gemma-3n", "layer outputs lead to the representations"):
        finding = replace(finding, excuse=finding.excuse.partition(":")[0])
        assert finding == Finding("-", excuse="its layers hand on several streams")
    else:
        assert finding == Finding(finding.measured)


CHATML = (
    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\n{}Hi<|im_end|>\n<|im_start|>assistant\n"
)
PROMPTS = {
    "qwen2-audio": CHATML.format("Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n"),
    "qwen2.5-omni": CHATML.format("<|audio_bos|><|AUDIO|><|audio_eos|>"),
    "qwen3-omni": CHATML.format("<|audio_start|><|audio_pad|><|audio_end|>"),
    "voxtral": "<s>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST][BEGIN_AUDIO][AUDIO]Hi[/INST]",
    "audio-flamingo-3": CHATML.format("<sound>"),
    "granite-speech": "<|start_of_role|>system<|end_of_role|>S<|end_of_text|>\n"
    "<|start_of_role|>user<|end_of_role|><|audio|>Hi<|end_of_text|>\n"
    "<|start_of_role|>assistant<|end_of_role|>",
    "phi-4-multimodal": "<|system|>S<|end|><|user|><|audio|>Hi<|end|><|assistant|>",
    "gemma-3n": "<bos><start_of_turn>user\nS\n\n"
    "\n\n<start_of_audio><audio_soft_token><end_of_audio>\n\nHi<end_of_turn>\n"
    "<start_of_turn>model\n",
}
SYSTEM = {
    **dict.fromkeys(PROMPTS, "<|im_start|>system\nS<|im_end|>\n"),
    "voxtral": "[SYSTEM_PROMPT]S[/SYSTEM_PROMPT]",
    "granite-speech": "<|start_of_role|>system<|end_of_role|>S<|end_of_text|>\n",
    "phi-4-multimodal": "<|system|>S<|end|>",
    "gemma-3n": "S\n\n",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_prompts_are_those_the_makers_publish(tiny: Tiny, clips: Sequence[str], name: str) -> None:
    model, whole = tiny(name), PROMPTS[name]
    assert model.render(Conversation("Hi", clips[0], "S")) == whole
    assert model.render(Conversation("Hi", clips[0])) == whole.replace(SYSTEM[name], "", 1)


SAID = "You are a test."
OF_TEMPLATES = {
    "qwen2-audio": "You are a helpful assistant.",
    "qwen2.5-omni": "You are a helpful assistant.",
    "audio-flamingo-3": "You are a helpful assistant.",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_system_turn_of_the_models_own_holds_in_all_that_it_reads(
    tiny: Tiny, tiny_folder: Callable[[str], Path], clips: Sequence[str], name: str
) -> None:
    bare = tiny(name)
    load = type(bare).from_checkpoint
    own = load(tiny_folder(name), name=name, device="cpu", dtype="float32", system=SAID)
    assert own.fingerprint != bare.fingerprint
    turns = [Conversation("Hi", clips[0]), Conversation("Hi")]
    for turn in turns:
        assert own.render(turn) == bare.render(replace(turn, system=SAID))
        under = own.render(replace(turn, system="S"))
        assert under == bare.render(replace(turn, system=f"{SAID}\nS"))
    given = [replace(turn, system=SAID) for turn in turns]
    assert torch.equal(own.representations(turns), bare.representations(given))
    assert not torch.equal(own.representations(turns), bare.representations(turns))
    assert own.tokens(turns, [[1], [2]]).ids.tolist() == bare.tokens(given, [[1], [2]]).ids.tolist()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_templates_own_system_turn_can_be_had(
    tiny: Tiny, tiny_folder: Callable[[str], Path], name: str
) -> None:
    bare = tiny(name)
    load = type(bare).from_checkpoint
    own = load(tiny_folder(name), name=name, device="cpu", dtype="float32", system="template")
    if name in OF_TEMPLATES:
        assert own.system == OF_TEMPLATES[name]
    else:
        assert (own.system is None) == (own.fingerprint == bare.fingerprint)
    by_itself = bare.processor.chat_template and bare.processor.apply_chat_template(
        bare.turns(Conversation("Hi")), add_generation_prompt=True, tokenize=False
    )
    if by_itself:
        assert own.render(Conversation("Hi")) == by_itself


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("qwen2-audio", "You are a helpful assistant."),
        ("qwen2.5-omni", "You are Qwen, a virtual human developed by the Qwen Team"),
        ("voxtral", ""),
    ],
)
def test_families_default_to_what_their_authors_code_does(
    tiny_folder: Callable[[str], Path], name: str, words: str
) -> None:
    from greaves.models.contract import MODELS

    model: Any = MODELS.get(name)(str(tiny_folder(name)), device="cpu", dtype="float32")
    assert (model.system or "")[: len(words)] == words
    assert bool(model.system) == bool(words)


def test_a_system_option_that_is_none_of_the_three_is_refused(
    tiny_folder: Callable[[str], Path],
) -> None:
    from greaves.models.contract import MODELS

    for wrong in ("", " ", 3):
        with pytest.raises(ModelError, match="option 'system' is none, template or a text"):
            MODELS.get("qwen2-audio")(str(tiny_folder("qwen2-audio")), system=wrong)


def test_a_template_that_puts_in_a_date_is_the_same_tomorrow(tiny: Tiny) -> None:
    model = tiny("granite-speech")
    by_itself = model.processor.apply_chat_template(model.turns(Conversation("Hi")), tokenize=False)
    assert "Today's Date" in by_itself
    assert "Today's Date" not in model.render(Conversation("Hi"))


def test_omnis_talker_is_never_loaded(tiny: Tiny, tiny_folder: Callable[[str], Path]) -> None:
    with safe_open(tiny_folder("qwen2.5-omni") / "model.safetensors", "pt") as file:
        parts = {key.partition(".")[0] for key in file.keys()}  # noqa: SIM118 - no mapping
        wanted = {key.partition(".")[2]: key for key in file.keys() if "thinker." in key}  # noqa: SIM118
        head = file.get_tensor("thinker.lm_head.weight")
    assert parts == {"thinker", "talker", "token2wav"}
    network = tiny("qwen2.5-omni").network
    assert len(list(network.parameters())) == len(wanted)
    assert not any("talker" in name or "token2wav" in name for name, _ in network.named_modules())
    assert torch.equal(network.lm_head.weight, head)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory, clips: Sequence[str]) -> str:
    """A clip of 9.5 s, more than two windows of the tiny models."""
    wave = np.concatenate([load_clip(clip, 16_000) for clip in clips] * 5)[: int(9.5 * 16_000)]
    assert len(wave) == int(9.5 * 16_000)
    path = tmp_path_factory.mktemp("long") / "long.wav"
    soundfile.write(path, wave, 16_000)
    return str(path)


@pytest.mark.parametrize(("name", "tokens"), [("voxtral", 150), ("audio-flamingo-3", 237)])
def test_a_clip_longer_than_a_window_is_heard_to_its_end(
    tiny: Tiny, long_clip: str, clips: Sequence[str], name: str, tokens: int
) -> None:
    model = tiny(name)
    features = model.features([long_clip])[0]
    assert len(features) == tokens
    finding = CHECKS["inputs and logits equal the whole network's"](model, [long_clip, clips[0]])
    assert not finding.failure


def test_a_clip_longer_than_all_windows_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 13 * 16_000), 16_000)
    with pytest.raises(DataError, match=r"lasts 13\.0 s, audio-flamingo-3 hears 12 s"):
        tiny("audio-flamingo-3").features([str(path)])


def test_mel_features_do_not_need_the_whole_window(tiny: Tiny, clips: Sequence[str]) -> None:
    extractor = tiny("qwen2.5-omni").processor.feature_extractor
    waves = [load_clip(clip, 16_000) for clip in clips]
    short, mask = whisper_features(extractor, waves)
    whole = extractor(waves, sampling_rate=16_000, return_attention_mask=True, return_tensors="pt")
    assert short.shape[2] < whole["input_features"].shape[2] // 2
    assert mask.sum(-1).tolist() == whole["attention_mask"].sum(-1).tolist()
    for row, full, frames in zip(short, whole["input_features"], mask.sum(-1), strict=True):
        assert torch.equal(row[:, :frames], full[:, :frames])


def test_positions_of_an_earlier_batch_do_not_matter(tiny: Tiny, clips: Sequence[str]) -> None:
    model = tiny("qwen2.5-omni")
    turn = Conversation("Hi", clips[0])
    before = model.representations([turn])
    texts = [model.render(turn)] * 3
    model.network(**model.processed(texts, [load_clip(clips[0], 16_000)] * 3))
    assert model.network.model.rope_deltas is not None
    assert torch.equal(model.representations([turn]), before)


def test_granites_mel_is_torchaudios(tiny: Tiny) -> None:
    time = torch.arange(4_000) / 16_000
    tone = 0.5 * torch.sin(2 * torch.pi * 440 * time) + 0.1 * torch.sin(2 * torch.pi * 3_000 * time)
    mel = tiny("granite-speech").processor.feature_extractor(tone)
    assert mel.shape == (1, 13, 32)
    # From torchaudio 2.11: MelSpectrogram(16_000, n_fft=512, win_length=400, hop_length=160,
    # n_mels=16), then the extractor's own steps.
    known = torch.tensor(
        [
            0.37673,
            1.15232,
            1.88516,
            1.78042,
            0.55579,
            0.10536,
            -0.11484,
            -0.11484,
            -0.11484,
            0.09416,
            1.54397,
            1.40602,
            -0.11484,
            -0.11484,
            -0.11484,
            -0.11484,
        ]
    )
    torch.testing.assert_close(mel[0, 6, :16], known, atol=1e-4, rtol=0)


def test_gemma_can_be_read_at_its_end_only(tiny: Tiny) -> None:
    model, turn = tiny("gemma-3n"), Conversation("Hi")
    part = Steering({1: torch.zeros(32)}, 1.0)
    with (
        pytest.raises(ModelError, match="acts on layers, which gemma-3n does not offer"),
        part.attached(model),
    ):
        pass
    with pytest.raises(ModelError, match="no single hidden state before its last layer"):
        model.representations([turn], [1])
    assert model.representations([turn], [model.decoder_layers]).shape == (1, 1, 32)


def test_fused_projections_get_lora_whole(tiny: Tiny) -> None:
    names = lora_modules(tiny("phi-4-multimodal"))
    assert {name.rpartition(".")[2] for name in names} == {
        *("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
    }


def test_experts_are_left_alone(tiny: Tiny) -> None:
    names = lora_modules(tiny("qwen3-omni"))
    assert {name.rpartition(".")[2] for name in names} == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_phi4s_speech_adapter_is_part_of_the_fingerprint(
    tiny: Tiny, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("phi-4-multimodal"), folder)
    file = folder / "speech-lora" / "adapter_model.safetensors"
    save_file({name: 2 * one for name, one in load_file(file).items()}, file)
    other = Phi4Multimodal.from_checkpoint(folder, device="cpu", dtype="float32")
    assert other.fingerprint != tiny("phi-4-multimodal").fingerprint


def test_granites_own_adapter_is_in_its_weights(
    tiny: Tiny, tiny_folder: Callable[[str], Path], clips: Sequence[str]
) -> None:
    from transformers import GraniteSpeechForConditionalGeneration

    model = tiny("granite-speech")
    theirs = GraniteSpeechForConditionalGeneration.from_pretrained(tiny_folder("granite-speech"))
    theirs.eval()
    turn = Conversation("Hi", clips[0])
    inputs: dict[str, Any] = model.processed([model.render(turn)], [load_clip(clips[0], 16_000)])
    with torch.no_grad():
        ours = model.network(**inputs).logits
        with_adapter = theirs(**inputs).logits
        theirs.disable_adapters()
        without = theirs(**inputs).logits
    scaling = theirs.config.text_config.logits_scaling
    torch.testing.assert_close(ours * scaling, with_adapter, atol=1e-4, rtol=1e-4)
    assert (with_adapter - without).abs().max() > 0.1
    assert not any("lora" in name for name, _ in model.network.named_parameters())
