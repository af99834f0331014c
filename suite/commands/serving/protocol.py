"""A chat completion's request as bytes -> what a LALM is asked; answers -> the reply's body.

A field that would change the text and is not known here is refused: an answer that ignores part of
what was asked misleads whoever compares models.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import soundfile
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

from greaves.base.conversation import Sampling
from greaves.base.text import printable
from greaves.data.speech.clips import MAX_SECONDS
from greaves.models.contract import Generated

MOST_CHOICES = 16
"""Samples of one request."""

COLDEST = 0.01
"""Below it, but above 0, a temperature is a mistake: logits divided by it are not numbers."""

HIGHEST_RATE = 192_000
"""Hz; a header that claims more is refused before the samples are read."""


class ApiError(HTTPException):
    """A request that is not answered.

    Args:
        status: of the HTTP reply.
        message: one line.
        code: a short name for programs; None where there is none.
        param: field of the request that is at fault.
        retry_after: seconds after which to ask again; None where that would not help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        after = {} if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(status, printable(message), after)  # it may quote the request
        self.code, self.param = code, param and printable(param)

    @property
    def body(self) -> dict[str, Any]:
        """The reply, in OpenAI's form."""
        kind = "invalid_request_error" if self.status_code < 500 else "server_error"
        fault = {"message": self.detail, "type": kind, "param": self.param, "code": self.code}
        return {"error": fault}


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Text(_Strict):
    type: Literal["text"]
    text: str


class _Audio(_Strict):
    data: str
    format: Literal["wav"]


class _InputAudio(_Strict):
    type: Literal["input_audio"]
    input_audio: _Audio


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


_Part = Annotated[_Text | _InputAudio, Field(discriminator="type")]


class _Message(_Strict):
    role: Literal["system", "developer", "user"]
    content: Annotated[list[_Part], BeforeValidator(_as_parts)]


class _OnlyText(_Strict):
    type: Literal["text"]


class _Request(_Strict):
    model: str
    messages: list[_Message]
    n: int = Field(default=1, ge=1, le=MOST_CHOICES)
    temperature: float = Field(default=1.0, ge=0, le=2, allow_inf_nan=False)
    top_p: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    # Known, and only taken where they change nothing.
    stream: bool | None = None
    user: str | None = None
    modalities: list[Literal["text"]] | None = None
    response_format: _OnlyText | None = None
    frequency_penalty: float = Field(default=0, ge=0, le=0)
    presence_penalty: float = Field(default=0, ge=0, le=0)


@dataclass(frozen=True)
class Asked:
    """What a request asks.

    Attributes:
        text: the user's text; None for speech alone.
        clip: bytes of a WAV file; None for text alone.
        system: system prompt, if there is one.
        sampling: temperature, top_p, max_new_tokens; the rest is as in every request.
        seeds: one for every choice.
    """

    text: str | None
    clip: bytes | None
    system: str | None
    sampling: Sampling
    seeds: tuple[int, ...]


def read_request(body: bytes, *, served: str, max_tokens: int) -> Asked:
    """Read a request.

    Args:
        body: JSON.
        served: name of the model that is served.
        max_tokens: the most that a request may ask for; also the default.

    Raises:
        ApiError: it cannot be answered as it is (status 400, 404).
    """
    try:
        request = _Request.model_validate_json(body)
    except ValidationError as error:
        raise _refused(error) from None
    if request.model != served:
        raise ApiError(404, f"the model here is {served!r}", code="model_not_found", param="model")
    if request.stream:
        raise ApiError(400, "answers are not streamed here; leave `stream` out", param="stream")
    if 0 < request.temperature < COLDEST:
        raise ApiError(400, f"temperature is 0, or from {COLDEST} to 2", param="temperature")
    limit = request.max_completion_tokens or request.max_tokens or max_tokens
    if limit > max_tokens:
        raise ApiError(400, f"at most {max_tokens} tokens are written here", param="max_tokens")
    system, text, clip = _turns(request.messages)
    sampling = Sampling(1, request.temperature, request.top_p, limit)
    return Asked(text, clip, system, sampling, choice_seeds(request.seed or 0, request.n))


def choice_seeds(seed: int, n: int) -> tuple[int, ...]:
    """Seeds of a request's choices: the first has the request's own, the others are drawn from it.

    So `n` requests with seeds of their own give what `n` samples of the suite give.
    """
    texts = [f"{seed}\0{choice}".encode() for choice in range(1, n)]
    others = (int.from_bytes(hashlib.sha256(text).digest()[:8]) >> 1 for text in texts)
    return (seed, *others)


@dataclass(frozen=True)
class Answered:
    """Answers to one request, and tokens of its prompt and of all its answers."""

    answers: Sequence[Generated]
    prompt_tokens: int
    response_tokens: int


def completion(answered: Answered, *, served: str, fingerprint: str) -> dict[str, Any]:
    """The reply's body."""
    texts = "\0".join(answer.text for answer in answered.answers)
    return {
        "id": f"chatcmpl-{hashlib.sha256(texts.encode()).hexdigest()[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": served,
        "system_fingerprint": fingerprint,
        "choices": [
            {
                "index": number,
                "message": {"role": "assistant", "content": answer.text},
                "finish_reason": "length" if answer.truncated else "stop",
            }
            for number, answer in enumerate(answered.answers)
        ],
        "usage": {
            "prompt_tokens": answered.prompt_tokens,
            "completion_tokens": answered.response_tokens,
            "total_tokens": answered.prompt_tokens + answered.response_tokens,
        },
    }


def _refused(error: ValidationError) -> ApiError:
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"{field} is not known here", param=field)
    return ApiError(400, f"{field or 'the body'}: {first['msg']}", param=field)


def _turns(messages: list[_Message]) -> tuple[str | None, str | None, bytes | None]:
    roles = ["user" if message.role == "user" else "system" for message in messages]
    if roles not in (["user"], ["system", "user"]):
        raise ApiError(400, "one user turn is answered, with or without a system turn before it")
    system, spoken = _content(messages[0]) if len(messages) == 2 else (None, [])
    if spoken:
        raise ApiError(400, "a system turn is text", param="messages.0.content")
    text, clips = _content(messages[-1])
    if len(clips) > 1:
        raise ApiError(400, "one clip is heard a turn", param="messages")
    if text is None and not clips:
        raise ApiError(400, "the user's turn is empty", param="messages")
    return system, text, _clip(clips[0]) if clips else None


def _content(message: _Message) -> tuple[str | None, list[str]]:
    texts = [part.text for part in message.content if isinstance(part, _Text)]
    clips = [part.input_audio.data for part in message.content if isinstance(part, _InputAudio)]
    return "\n".join(texts) or None, clips


def _clip(data: str) -> bytes:
    """The bytes of a clip whose header promises something short enough to be read."""
    param = "input_audio.data"
    try:
        clip = base64.b64decode(data, validate=True)
        facts = soundfile.info(io.BytesIO(clip))
    except (ValueError, binascii.Error):
        raise ApiError(400, "the clip is not base64", param=param) from None
    except soundfile.LibsndfileError:
        raise ApiError(400, "the clip is not a WAV file", param=param) from None
    if facts.format not in ("WAV", "WAVEX"):
        raise ApiError(400, f"the clip is {facts.format}, not WAV", param=param)
    if facts.samplerate > HIGHEST_RATE:
        raise ApiError(400, f"the clip claims {facts.samplerate} Hz", param=param)
    if facts.frames > MAX_SECONDS * facts.samplerate:
        raise ApiError(400, f"the clip lasts more than {MAX_SECONDS:.0f} s", param=param)
    return clip
