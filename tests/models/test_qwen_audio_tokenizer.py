"""Tokens of first-generation Qwen-Audio: the ids that tiktoken gives, without tiktoken.

`qwen_audio_mini.tiktoken` is hand-made: 1,000 ranks, with those that the recorded prompt uses in
their original places, the tokens they are joined from, and the rest filled up.
"""

from __future__ import annotations

import base64
import random
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
import regex

from greaves.base.errors import ModelError
from greaves.models.conversion.qwen_audio_tokens import (
    PATTERN,
    SPECIAL_TOKENS,
    STOPS,
    byte_level_bpe,
    read_ranks,
)

RANKS = Path(__file__).parent / "qwen_audio_mini.tiktoken"
BYTES = [bytes([byte]) for byte in range(256)]


def as_tiktoken(text: str, tokens: list[bytes]) -> list[int]:
    """Ids by tiktoken's rule: a known piece whole, else the lowest-ranked pair, leftmost first."""
    ranks = {token: rank for rank, token in enumerate(tokens)}
    ids: list[int] = []
    for piece in regex.findall(PATTERN, unicodedata.normalize("NFC", text)):
        parts = [bytes([byte]) for byte in piece.encode()]
        if piece.encode() in ranks:
            parts = [piece.encode()]
        while True:
            pairs = [(ranks.get(a + b), at) for at, (a, b) in enumerate(pairwise(parts))]
            known = [(rank, at) for rank, at in pairs if rank is not None]
            if not known:
                break
            at = min(known)[1]
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        ids += [ranks[part] for part in parts]
    return ids


def ids_of(text: str, tokens: list[bytes]) -> list[int]:
    return list(byte_level_bpe(tokens, PATTERN, SPECIAL_TOKENS).encode(text).ids)


@pytest.mark.parametrize(
    ("merges", "expected"),
    [
        (["ab", "bc", "cd", "abc"], ["ab", "cd"]),
        (["bc", "ab", "cd", "abc"], ["abc", "d"]),
        (["cd", "bcd", "ab", "bc"], ["a", "bcd"]),
        (["abcd"], ["abcd"]),  # a whole piece, though no two parts of it are tokens
    ],
)
def test_pairs_join_in_the_order_of_their_ranks(merges: list[str], expected: list[str]) -> None:
    tokens = [*BYTES, *(merge.encode() for merge in merges)]
    assert ids_of("abcd", tokens) == [tokens.index(part.encode()) for part in expected]


def test_random_strings_have_the_ids_that_tiktoken_gives_them() -> None:
    tokens = read_ranks(RANKS)
    tokenizer = byte_level_bpe(tokens, PATTERN, SPECIAL_TOKENS)
    letters = [*"aaehistnou THEINGzQAB  \n\n\r?!.'s5", "é", "中", "文", "😀", "e\u0301"]
    letters += [" world", "Hello", " the", "zzzzz"]
    draw = random.Random(0)
    for _ in range(1500):
        text = "".join(draw.choices(letters, k=draw.randint(1, 30)))
        assert tokenizer.encode(text).ids == as_tiktoken(text, tokens), repr(text)


def test_random_vocabularies_cut_as_tiktoken_does() -> None:
    for seed in range(40):
        draw = random.Random(seed)
        alphabet = "ab" if seed % 2 else "abc"
        made = {"".join(draw.choices(alphabet, k=draw.randint(2, 6))): None for _ in range(30)}
        tokens = [*BYTES, *(token.encode() for token in made)]
        tokenizer = byte_level_bpe(tokens, PATTERN, ())
        for _ in range(40):
            text = "".join(draw.choices(alphabet, k=draw.randint(2, 24)))
            assert tokenizer.encode(text).ids == as_tiktoken(text, tokens), (seed, text)


def test_any_text_comes_back_from_its_ids() -> None:
    tokenizer = byte_level_bpe(read_ranks(RANKS), PATTERN, SPECIAL_TOKENS)
    draw = random.Random(1)
    ranges = [(32, 0x7F), (0xA0, 0x250), (0x4E00, 0x4F00), (0x1F600, 0x1F640), (0x600, 0x620)]
    for _ in range(300):
        text = "".join(chr(draw.randrange(*draw.choice(ranges))) for _ in range(12)) + " \t\r\n"
        text = unicodedata.normalize("NFC", text)
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_special_tokens_have_the_ids_of_the_original() -> None:
    base = 151_643
    assert len(SPECIAL_TOKENS) == len(set(SPECIAL_TOKENS)) == 3522
    ids = {token: base + place for place, token in enumerate(SPECIAL_TOKENS)}
    assert [ids[token] for token in STOPS] == [151_643, 151_645, 151_644]
    assert ids["<|extra_0|>"] == 151_646
    assert ids["<|extra_204|>"] == 151_850
    assert ids["[[[AUDIO:modality]]]"] == 151_851
    assert ids["<|30.00|>"] - ids["<|0.00|>"] == 3000
    assert ids["<audio>"] == 155_163
    assert ids["</audio>"] == 155_164


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("no-base64! 256", ":257: not a base64 token"),
        ("YWI=", ":257: not a base64 token"),
        ("YWI= x", ":257: not a base64 token"),
        ("QQ== 256", ":257: the token is empty or occurs twice"),
        ("YWI= 300", "do not count from 0"),
        ("YWI= 0", "do not count from 0"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "qwen.tiktoken"
    lines = [f"{base64.b64encode(byte).decode()} {rank}" for rank, byte in enumerate(BYTES)]
    path.write_text("\n".join([*lines, line]) + "\n")
    with pytest.raises(ModelError) as caught:
        read_ranks(path)
    assert said in str(caught.value)


def test_a_vocabulary_that_cannot_write_every_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "qwen.tiktoken"
    path.write_text(
        "".join(
            f"{base64.b64encode(byte).decode()} {rank}\n" for rank, byte in enumerate(BYTES[:-1])
        )
    )
    with pytest.raises(ModelError, match="byte 255 is not a token"):
        read_ranks(path)
