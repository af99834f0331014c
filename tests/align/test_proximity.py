"""Proximity of benign questions to harmful ones: distances, choices, encoders."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from greaves.align.defence import Defence
from greaves.align.method import RunContext
from greaves.align.proximity.config import FarthestFilter, filters_of
from greaves.align.proximity.encoders import find_encoder
from greaves.align.proximity.selection import (
    Selection,
    closest_first,
    count,
    encoders_of,
    nearest,
    scaled,
    select,
)
from greaves.align.stress.benign_finetuning import BenignFineTuningConfig
from greaves.base.errors import DataError, ModelError
from greaves.data.alignment.sets import AlignmentData, AlignmentItem, load_alignment_data
from greaves.data.folders import EMBEDDED
from greaves.data.speech.clips import load_clip


@pytest.fixture(scope="module")
def basic() -> AlignmentData:
    whole = load_alignment_data(EMBEDDED / "basic", "basic")
    return AlignmentData("basic", whole.items[:32])


def item(name: str, text: str = "", clip: str = "") -> AlignmentItem:
    return AlignmentItem(id=name, kind="benign", text=text, clip=clip)


def chosen(
    pocket: Any, data: AlignmentData, folder: Path, seed: int = 0, **config: Any
) -> Selection:
    return select(
        pocket,
        data.benign,
        data.harmful,
        config.pop("defence", Defence()),
        BenignFineTuningConfig(**config),
        RunContext(folder, seed),
    )


def test_distance_is_one_minus_the_cosine_to_the_nearest_harmful_one() -> None:
    benign = torch.tensor([[2.0, 0.0], [1.0, 1.0], [-1.0, 0.0], [0.0, 0.0]])
    harmful = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    expected = torch.tensor([0.0, 1 - math.sqrt(0.5), 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(nearest(benign, harmful), expected)
    assert nearest(torch.tensor([[-1.0, 0.0]]), torch.tensor([[1.0, 0.0]])).item() == 2.0


def test_an_embedding_that_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="not numbers"):
        nearest(torch.tensor([[math.nan, 1.0]]), torch.tensor([[1.0, 0.0]]))


def test_equal_distances_stay_in_order_and_a_fraction_is_rounded() -> None:
    assert closest_first(torch.tensor([0.5, 0.1, 0.5, 0.1])) == [1, 3, 0, 2]
    assert [count(0.25, total) for total in (1, 6, 96)] == [1, 2, 24]
    assert scaled(torch.tensor([2.0, 4.0, 3.0])).tolist() == [0.0, 1.0, 0.5]
    assert scaled(torch.tensor([2.0, 2.0])).tolist() == [0.0, 0.0]


def test_tf_idf_finds_the_same_words_and_nothing_in_common(pocket: Any) -> None:
    encode = find_encoder("tf-idf", "semantic", pocket)
    texts = ["Mend a red kite.", "mend a RED kite", "Bake bread", "Mend a chair"]
    rows = encode([item(str(number), text) for number, text in enumerate(texts)])
    same, other, near = nearest(rows[1:], rows[:1]).tolist()
    assert same == pytest.approx(0, abs=1e-12)
    assert other == pytest.approx(1)
    assert 0 < near < 1


def test_the_models_own_audio_encoder_hears_the_clip_and_nothing_else(
    pocket: Any, basic: AlignmentData
) -> None:
    encode = find_encoder("own", "acoustic", pocket)
    clips = [one.clip for one in basic.items[:2]]
    rows = encode([item("a", "x", clips[0]), item("b", "y", clips[0]), item("c", "x", clips[1])])
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])
    torch.testing.assert_close(rows[2], pocket.features([clips[1]])[0].float().mean(dim=0))


@pytest.mark.parametrize("axis", ["semantic", "acoustic"])
def test_closest_and_farthest_are_the_two_ends(
    pocket: Any, basic: AlignmentData, tmp_path: Path, axis: str
) -> None:
    near = chosen(pocket, basic, tmp_path, axis=axis)
    far = chosen(pocket, basic, tmp_path, axis=axis, side="farthest")
    distances = near.distances[axis]
    assert len(near.taken) == len(far.taken) == 4
    left = distances[[n for n in range(16) if n not in {*near.taken, *far.taken}]]
    assert distances[near.taken].max() <= left.min()
    assert left.max() <= distances[far.taken].min()
    assert [one.id for one in near.chosen(basic.benign)] == [near.ids[n] for n in near.taken]


def test_mixed_is_the_mean_of_both_distances_each_scaled_to_its_range(
    pocket: Any, basic: AlignmentData, tmp_path: Path
) -> None:
    mixed = chosen(pocket, basic, tmp_path, axis="mixed")
    semantic, acoustic = (mixed.distances[axis] for axis in ("semantic", "acoustic"))
    for part, axis in ((semantic, "semantic"), (acoustic, "acoustic")):
        assert torch.equal(part, chosen(pocket, basic, tmp_path, axis=axis).distances[axis])
    by_hand = [
        (s - semantic.min()) / (semantic.max() - semantic.min()) / 2
        + (a - acoustic.min()) / (acoustic.max() - acoustic.min()) / 2
        for s, a in zip(semantic, acoustic, strict=True)
    ]
    assert mixed.order is not None
    torch.testing.assert_close(mixed.order, torch.stack(by_hand))


def test_random_depends_on_the_seed_and_measures_nothing(
    pocket: Any, basic: AlignmentData, tmp_path: Path
) -> None:
    one, again, other = (
        chosen(pocket, basic, tmp_path, seed=seed, axis="random", fraction=0.5)
        for seed in (1, 1, 2)
    )
    assert one.taken == again.taken != other.taken
    assert len(one.taken) == 8
    assert one.as_plain()["encoders"] == {}
    assert one.summary()["side"] is None


def test_every_question_is_recorded_with_its_distance(
    pocket: Any, basic: AlignmentData, tmp_path: Path
) -> None:
    plain = json.loads(json.dumps(chosen(pocket, basic, tmp_path, axis="mixed").as_plain()))
    assert plain["encoders"] == {"semantic": "tf-idf", "acoustic": "own"}
    assert [one["id"] for one in plain["items"]] == [one.id for one in basic.benign]
    assert sum(one["taken"] for one in plain["items"]) == plain["questions"] == 4
    assert all(0 <= one["acoustic"] <= 2 for one in plain["items"])


def test_farthest_filtering_leaves_the_stress_only_the_farthest(
    pocket: Any, basic: AlignmentData, tmp_path: Path
) -> None:
    quarter = Defence((), {"rrs": {"first_loss": 1.0}, "filter": FarthestFilter().note()})
    half = Defence((), FarthestFilter(keep=0.5).note())
    farthest = chosen(pocket, basic, tmp_path, side="farthest").taken
    assert chosen(pocket, basic, tmp_path, defence=quarter).taken == farthest
    of_half = chosen(pocket, basic, tmp_path, defence=half)
    assert len(of_half.kept) == 8
    assert len(of_half.taken) == 4
    assert set(of_half.taken) < set(of_half.kept)
    assert filters_of(Defence((), {"first_loss": 1.0})) == []


def test_a_set_without_harmful_questions_is_refused(
    pocket: Any, basic: AlignmentData, tmp_path: Path
) -> None:
    benign = AlignmentData("basic", tuple(basic.benign))
    with pytest.raises(DataError, match="needs harmful questions"):
        chosen(pocket, benign, tmp_path)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random encoders of the real architectures, as `save_pretrained` leaves them."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        BertConfig,
        BertModel,
        PreTrainedTokenizerFast,
        Wav2Vec2FeatureExtractor,
        WavLMConfig,
        WavLMModel,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperModel,
    )

    folder = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "mend", "a", "kite"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_max_length=16,
    ).save_pretrained(folder / "text")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(
        BertConfig(vocab_size=5, intermediate_size=16, max_position_embeddings=16, **small)
    ).save_pretrained(folder / "text")
    WavLMModel(
        WavLMConfig(
            **small,
            intermediate_size=16,
            conv_dim=(8, 8),
            conv_stride=(20, 16),
            conv_kernel=(20, 16),
            num_feat_extract_layers=2,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
            num_buckets=8,
        )
    ).save_pretrained(folder / "wavlm")
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder / "wavlm")
    WhisperModel(
        WhisperConfig(
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            vocab_size=64,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
            num_mel_bins=80,
        )
    ).save_pretrained(folder / "whisper")
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder / "whisper")
    return {path.name: path for path in folder.iterdir()}


def test_a_text_encoder_is_mean_pooled_over_its_own_words(
    encoders: dict[str, Path], pocket: Any
) -> None:
    from transformers import BertModel

    encode = find_encoder(str(encoders["text"]), "semantic", pocket)
    rows = encode([item("a", "mend a kite"), item("b", "mend")])
    with torch.no_grad():
        network = BertModel.from_pretrained(encoders["text"]).eval()
        states = network(torch.tensor([[2, 3, 4]])).last_hidden_state[0]
    torch.testing.assert_close(rows[0], states.mean(dim=0))
    torch.testing.assert_close(rows[1], encode([item("b", "mend")])[0])  # padding says nothing


def test_wavlm_is_mean_pooled_over_time(
    encoders: dict[str, Path], pocket: Any, basic: AlignmentData
) -> None:
    from transformers import WavLMModel

    rows = find_encoder(str(encoders["wavlm"]), "acoustic", pocket)(basic.items[:2])
    assert rows.shape == (2, 16)
    wave = torch.from_numpy(load_clip(basic.items[1].clip, 16_000))[None]
    wave = (wave - wave.mean()) / torch.sqrt(wave.var(correction=0) + 1e-7)
    with torch.no_grad():
        network = WavLMModel.from_pretrained(encoders["wavlm"]).eval()
        states = network(wave).last_hidden_state[0]
    torch.testing.assert_close(rows[1], states.mean(dim=0), atol=1e-4, rtol=1e-4)


def test_whisper_is_mean_pooled_over_the_clips_own_frames(
    encoders: dict[str, Path], pocket: Any, basic: AlignmentData
) -> None:
    from transformers import WhisperFeatureExtractor, WhisperModel

    rows = find_encoder(str(encoders["whisper"]), "acoustic", pocket)(basic.items[:2])
    wave = load_clip(basic.items[0].clip, 16_000)
    mel = WhisperFeatureExtractor.from_pretrained(encoders["whisper"])(
        wave, sampling_rate=16_000, return_tensors="pt"
    )["input_features"]
    with torch.no_grad():
        encoder = WhisperModel.from_pretrained(encoders["whisper"]).eval().encoder
        states = encoder(mel).last_hidden_state[0]
    assert len(states) == 1500
    own = math.ceil(len(wave) / 320)  # 50 frames a second
    torch.testing.assert_close(rows[0], states[:own].mean(dim=0))


@pytest.mark.parametrize(
    ("name", "axis"), [("text", "acoustic"), ("wavlm", "semantic"), ("whisper", "semantic")]
)
def test_an_encoder_on_the_wrong_axis_is_refused(
    encoders: dict[str, Path], pocket: Any, name: str, axis: Any
) -> None:
    with pytest.raises(ModelError, match=f"not for the {axis} axis"):
        find_encoder(str(encoders[name]), axis, pocket)
    with pytest.raises(ModelError, match="not for the acoustic axis"):
        find_encoder("tf-idf", "acoustic", pocket)


def test_pickled_weights_are_refused(
    encoders: dict[str, Path], pocket: Any, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    for path in encoders["text"].iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save(load_file(encoders["text"] / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"cannot be loaded .*safetensors"):
        find_encoder(str(tmp_path), "semantic", pocket)


def test_an_encoder_that_is_nowhere_is_refused_in_one_line(pocket: Any) -> None:
    with pytest.raises(ModelError, match="no-such/encoder") as refused:
        find_encoder("no-such/encoder@main", "semantic", pocket)
    assert "\n" not in str(refused.value)


def test_an_encoder_whose_weights_changed_is_another_one(
    encoders: dict[str, Path], tmp_path: Path
) -> None:
    from greaves.align.proximity.encoders import identity

    for path in encoders["text"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    same = identity(str(tmp_path))
    assert same == identity(str(encoders["text"]))
    identity.cache_clear()
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert identity(str(tmp_path)) != same
    config = BenignFineTuningConfig(semantic_encoder=str(tmp_path), acoustic_encoder="unused")
    assert encoders_of([config, FarthestFilter()]) == {str(tmp_path): identity(str(tmp_path))}
