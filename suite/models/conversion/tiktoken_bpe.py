"""A tiktoken vocabulary as a byte-level BPE of the tokenizers library, token for token."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, normalizers
from transformers.convert_slow_tokenizer import TikTokenConverter

from greaves.base.errors import ModelError


def read_ranks(path: Path) -> list[bytes]:
    """The tokens of a tiktoken file, in rank order; a token's rank is its id.

    Args:
        path: lines of a base64 token, a space and its rank.

    Raises:
        ModelError: the file cannot be read, a line is something else, a token or rank occurs
            twice or is left out, or one of the 256 single bytes is not a token.
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
                f"byte {byte} is not a token, so not every text has tokens", where=str(path)
            )
    return sorted(ranks, key=ranks.__getitem__)


def byte_level_bpe(
    tokens: Sequence[bytes], pattern: str, special_tokens: Sequence[str]
) -> Tokenizer:
    """The tokenizer that cuts every text, once it is in Unicode's form NFC, as tiktoken does.

    transformers' own converter, without the package tiktoken: every way to cut a token in two is a
    merge, in the order of the ranks; a piece that is a token as a whole is never cut.

    Args:
        tokens: see `read_ranks`.
        pattern: regular expression of the pieces that are cut on their own.
        special_tokens: follow the tokens, in this order.
    """
    ranks = {token: rank for rank, token in enumerate(tokens)}
    converter = TikTokenConverter(pattern=pattern, extra_special_tokens=list(special_tokens))
    converter.load_tiktoken_bpe = lambda _: ranks
    tokenizer: Tokenizer = converter.converted()
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer
