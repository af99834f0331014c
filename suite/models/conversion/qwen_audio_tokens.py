"""Tokens of first-generation Qwen-Audio in the order of their ids, its tokenizer and chat form.

The special tokens follow the base vocabulary without a gap: with the 151,643 ranks of
`qwen.tiktoken`, `<|endoftext|>` is 151643, the audio placeholder 151851 and `<audio>` 155163.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, normalizers
from transformers.convert_slow_tokenizer import TikTokenConverter

from greaves.base.errors import ModelError

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
AUDIO = "[[[AUDIO:modality]]]"
"""Placeholder of the audio features; the processor repeats it once for each of them."""

AUDIO_START = "<audio>"
AUDIO_END = "</audio>"

_LANGUAGES = ("en", "zh", "de", "es", "ko", "fr", "ja", "it")

# What pre-training marked tasks with. A chat never writes them, but each has its row in the
# embeddings, and the order decides which.
_TASKS = (
    *("startoftranscript", "startofanalysis", "translate", "transcribe", "caption", "keyword"),
    *("unknown", *_LANGUAGES, "zh_tr", "notimestamps", "sil", "timestamps"),
    *(f"{hundredths / 100:.2f}" for hundredths in range(3001)),
    *("caption_audiocaps", "caption_clotho", "audioset_ontology", "caption_plain"),
    *("itn", "wo_itn", "startofentityvalue", "endofentityvalue", "startofentitytype"),
    *("endofentitytype", "named_entity_recognition", "audio_grounding", "startofword"),
    *("endofword", "delim", "emotion_recognition", "music_description", "note_analysis"),
    *("pitch", *(f"midi_pitch_{number}" for number in range(128))),
    *("velocity", *(f"midi_velocity_{number}" for number in range(128))),
    *("sonic", "instrument", "speaker_meta", "song_meta", "question", "answer", "choice"),
    *("scene", "event", "vocal_classification", "speech_understanding", "scenario", "action"),
    *("entities", "speech_edit"),
)

SPECIAL_TOKENS = (
    *(END_OF_TEXT, TURN_START, TURN_END),
    *(f"<|extra_{number}|>" for number in range(205)),
    AUDIO,
    *(f"<|{task}|>" for task in _TASKS),
    *(AUDIO_START, AUDIO_END),
)
"""All 3,522 of them; a token's id is the number of base tokens plus its place here."""

STOPS = (END_OF_TEXT, TURN_END, TURN_START)
"""What ends a response: 151643, 151645 and 151644."""

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Pieces that Qwen cuts on their own."""

CHAT_TEMPLATE = Path(__file__).with_name("qwen_audio.jinja").read_text().removesuffix("\n")
"""The form of the original `chat()`: its system prompt where none is given, then
`Audio 1:<audio>...</audio>`, a line break, the text."""


def read_ranks(path: Path) -> list[bytes]:
    """The tokens of a tiktoken file (lines of a base64 token, a space, its rank and id), in order.

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
            what = "not a base64 token and its rank"
            raise ModelError(what, where=where, do="fetch the file again") from None
        if not token or token in ranks:
            raise ModelError("the token is empty or occurs twice", where=where)
        ranks[token] = place
    if sorted(ranks.values()) != list(range(len(ranks))):
        what = f"the {len(ranks):,} ranks do not count from 0 without a gap"
        raise ModelError(what, where=str(path), do="fetch the file again")
    for byte in range(256):
        if bytes([byte]) not in ranks:
            what = f"byte {byte} is not a token, so not every text has tokens"
            raise ModelError(what, where=str(path))
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
