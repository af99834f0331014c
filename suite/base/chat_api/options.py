"""How a chat server is asked: what a recipe's `options` may say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from greaves.base.chat_api.address import Address
from greaves.base.chat_api.messages import ChatReply
from greaves.base.errors import ModelError

DEFAULT_KEY = "OPENAI_API_KEY"
"""Environment variable with the key for OpenAI, and for servers on this machine."""

_OURS = frozenset(
    {"messages", "model", "n", "seed", "temperature", "top_p", "stream", "response_format"}
    | {"max_tokens", "max_completion_tokens"}
)


class Prices(BaseModel):
    """US dollars per million tokens.

    Attributes:
        prompt: of text in the prompt.
        response: of what the model writes.
        audio: of audio in the prompt; default: as text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: float = Field(ge=0)
    response: float = Field(ge=0)
    audio: float | None = Field(default=None, ge=0)

    def of(self, reply: ChatReply) -> float:
        """What a reply and its prompt cost, in US dollars."""
        audio = self.prompt if self.audio is None else self.audio
        spoken = min(reply.audio_tokens, reply.prompt_tokens)
        written = (reply.prompt_tokens - spoken) * self.prompt
        return (written + spoken * audio + reply.response_tokens * self.response) / 1e6


class ChatOptions(BaseModel):
    """How a chat server is asked.

    Attributes:
        key_env: name of the environment variable that holds the key. Default: OPENAI_API_KEY for
            OpenAI's own servers and for those on this machine, if it is set; no key for others.
        concurrency: requests under way at the same time.
        timeout: seconds for one attempt, from connecting to the reply's last byte.
        retries: attempts after the first.
        first_wait: seconds before the first retry; they double from one retry to the next.
        longest_wait: seconds; no wait is longer, whatever the server asks for.
        seed: of the jitter in the waits.
        prices: to count the cost; None leaves it unknown.
        extra: further fields of every request's body, such as {"top_k": 50}.
        token_limit: field that carries the limit on response tokens; OpenAI's reasoning models
            know only the second.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key_env: str | None = Field(default=None, min_length=1)
    concurrency: int = Field(default=8, ge=1, le=1024)
    timeout: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    retries: int = Field(default=5, ge=0, le=100)
    first_wait: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    longest_wait: float = Field(default=120.0, ge=0, allow_inf_nan=False)
    seed: int = 0
    prices: Prices | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(_OURS & value.keys())
        if taken:
            raise ValueError(f"{', '.join(taken)} cannot be set here")
        return value

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Options as a recipe has them. Raises ModelError that names the field."""
        try:
            return cls.model_validate(dict(content))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                known = ", ".join(cls.model_fields)
                raise ModelError(f"unknown option {field!r}", do=f"known: {known}") from None
            raise ModelError(f"option {field!r}: {first['msg']}") from None

    def key(self, address: Address) -> str | None:
        """The key for `address`, read from the environment every time and kept nowhere.

        Raises:
            ModelError: `key_env` names a variable that is not set, or one that no header can hold.
        """
        name = self.key_env or (DEFAULT_KEY if address.takes_default_key else None)
        if name is None:
            return None
        key = os.environ.get(name, "").strip()
        if not key and self.key_env:
            raise ModelError(f"there is no key in the environment variable {name}", do="set it")
        if not key.isascii() or any(not "!" <= letter <= "~" for letter in key):
            raise ModelError(f"the key in {name} holds blanks or other signs that no key has")
        return key or None
