"""A tiktoken vocabulary as a byte-level BPE of the tokenizers library, token for token."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers.convert_slow_tokenizer import bytes_to_unicode

from greaves.base.errors import ModelError


def read_ranks(path: Path) -> list[bytes]:
    """The tokens of a tiktoken file, in rank order; a token's rank is its id.

    Args:
        path: lines of a base64 token, a space and its rank.

    Raises:
        ModelError: the file cannot be read, a line is something else, a token or rank occurs
            twice or is left out, or one of the 256 single bytes is no token.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ModelError(f"cannot be read ({error.strerror})", where=str(path)) from None
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        where = f"{path}:{number}"
        try:
            text, rank = line.split()
            token = base64.b64decode(text, validate=True)
            place = int(rank)
        except (ValueError, binascii.Error):
            raise ModelError(
                "not a base64 token and its rank", where=where, do="fetch the file again"
            ) from None
        if not token or token in ranks:
            raise ModelError("the token is empty or occurs twice", where=where)
        ranks[token] = place
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise ModelError(
            f"the {len(ranks):,} ranks do not count from 0 without a gap",
            where=str(path),
            do="fetch the file again",
        )
    for byte in range(256):
        if bytes([byte]) not in ranks:
            raise ModelError(
                f"byte {byte} is no token, so not every text has tokens", where=str(path)
            )
    return sorted(ranks, key=ranks.__getitem__)


def byte_level_bpe(
    tokens: Sequence[bytes], pattern: str, special_tokens: Sequence[str]
) -> Tokenizer:
    """The tokenizer that cuts every text, once it is in Unicode's form NFC, as tiktoken does.

    tiktoken joins, again and again, the two neighbours whose joint token has the lowest rank,
    however they were cut. So every way to cut a token in two tokens is a merge, and merges stand in
    the order of the ranks they make; a piece that is a token as a whole is never cut.

    Args:
        tokens: see `read_ranks`.
        pattern: regular expression of the pieces that are cut on their own.
        special_tokens: follow the tokens, in this order.
    """
    letters = bytes_to_unicode()
    names = ["".join(letters[byte] for byte in token) for token in tokens]
    ids = {name: rank for rank, name in enumerate(names)}
    merges = [
        (name[:cut], name[cut:])
        for name in names
        for cut in range(1, len(name))
        if name[:cut] in ids and name[cut:] in ids
    ]
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, ignore_merges=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special_tokens]
    )
    return tokenizer
