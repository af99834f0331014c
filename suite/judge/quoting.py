"""Untrusted text for a judge that is a language model: quoted so that it cannot instruct the judge.

Three things hold of a quotation, whatever the text is:

* Every line of it begins with "| ", so no line of the text can be taken for one of ours, such as
  the line that ends the quotation.
* The lines around it carry a mark, a hash of all that is quoted: no text can hold its own.
* What a chat template could read as a special token (`<|im_end|>`, `[/INST]`, `</s>`) is broken by
  a blank, since servers turn such text into the real token.
"""

from __future__ import annotations

import hashlib
import re

QUOTE = "| "

_BREAK = re.compile("\r\n|[\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f]")
_TOKEN = re.compile(
    "<(?=[|/!\uff5c\\w][^<>]{0,80}>)"  # <|im_end|>, </s>, <start_of_turn>, <\uff5cUser\uff5c>
    r"|<(?=<)|>(?=>)"  # <<SYS>>
    r"|\[(?=/?[A-Z][A-Z_]{1,30}\])"  # [INST], [/INST], [TOOL_CALLS]
)


def defused(text: str) -> str:
    """The text without what a tokenizer or chat template could take for more than text.

    Halves of surrogate pairs and control characters become a replacement sign, any line break a
    newline; look-alikes of special tokens get a blank after their first sign.
    """
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    lines = _CONTROL.sub("\ufffd", _BREAK.sub("\n", whole))
    return _TOKEN.sub(lambda found: f"{found[0]} ", lines)


def quoted(text: str) -> str:
    """The text, defused, every line behind "| "."""
    return "\n".join(QUOTE + line for line in defused(text).split("\n"))


def cut(text: str, length: int) -> tuple[str, str]:
    """The first `length` characters, and a note for outside the quotation ("" if it is whole)."""
    if len(text) <= length:
        return text, ""
    return text[:length], f"(Only the first {length:,} of {len(text):,} characters are quoted.)"


def mark_of(*texts: str) -> str:
    """The mark of a prompt that quotes these texts: 16 hex digits that occur in none of them."""
    digest = hashlib.sha256("\0".join(defused(text) for text in texts).encode())
    while any(digest.hexdigest()[:16] in text for text in texts):
        digest.update(b"again")
    return digest.hexdigest()[:16]
