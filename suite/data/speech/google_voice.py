"""Google Text-to-Speech: the voices that the RRS paper used (section 4).

The client is an optional extra (`google-voice`) and is imported only when it is asked for. It takes
its credentials from the environment (`GOOGLE_APPLICATION_CREDENTIALS`, or `gcloud auth
application-default login`); no key passes through here.
"""

from __future__ import annotations

import random
import re
from threading import Lock
from typing import Any

from greaves.data.speech.engines import Spoken, UnspeakableError
from greaves.data.speech.voices import SAMPLE_RATE, SpeechError

LANGUAGE = "en-US"

VOICE_TYPES: tuple[str, ...] = ("Neural2", "Wavenet", "Standard")
"""Types of voices in the RRS paper; one voice of any of them is drawn for each question."""

LOCAL_HOSTS: frozenset[str] = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Only these are spoken to without TLS and without credentials."""


class GoogleEngine:
    """The en-US voices of Google Text-to-Speech of types Neural2, Wavenet and Standard.

    Args:
        endpoint: `host:port` of another server that implements the service; "" for Google's own.
            One on this machine is spoken to without TLS and without credentials.
        parallel: requests under way at the same time.
        patience: seconds for which a request is tried again while the service is unavailable or
            its quota is used up, with growing pauses.

    Raises:
        SpeechError: the extra is not installed, or there are no credentials.
    """

    def __init__(self, endpoint: str = "", parallel: int = 4, patience: float = 120.0) -> None:
        try:
            from google.api_core import exceptions, retry
            from google.auth.exceptions import GoogleAuthError
            from google.cloud import texttospeech_v1
        except ImportError:
            what = "google-cloud-texttospeech is not installed"
            raise SpeechError(what, do="pip install 'greaves[google-voice]'") from None
        self._api, self._exceptions = texttospeech_v1, exceptions
        self._failures = (exceptions.GoogleAPIError, GoogleAuthError)
        self._retry = retry.Retry(
            predicate=retry.if_exception_type(
                exceptions.ServiceUnavailable,
                exceptions.DeadlineExceeded,
                exceptions.ResourceExhausted,
            ),
            initial=0.5,
            maximum=30.0,
            timeout=patience,
        )
        self.parallel, self._patience = parallel, patience
        self._endpoint = endpoint
        self._client = _client(texttospeech_v1, endpoint)
        self._lock = Lock()
        self._names: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        return {
            "engine": "google-cloud-texttospeech",
            "language": LANGUAGE,
            "voice_types": list(VOICE_TYPES),
            "sample_rate": SAMPLE_RATE,
            "endpoint": "other" if self._endpoint else "google",
            "licence_note": "synthetic speech of Google Cloud: its terms of service apply",
        }

    def speak(self, text: str, seed: str) -> Spoken:
        name = random.Random(seed).choice(self.voices())
        api = self._api
        try:
            answer = self._client.synthesize_speech(
                input=api.SynthesisInput(text=text),
                voice=api.VoiceSelectionParams(language_code=LANGUAGE, name=name),
                audio_config=api.AudioConfig(
                    audio_encoding=api.AudioEncoding.LINEAR16, sample_rate_hertz=SAMPLE_RATE
                ),
                retry=self._retry,
                timeout=self._patience,
            )
        except self._exceptions.InvalidArgument:
            raise UnspeakableError(f"the service refuses to speak this text with {name}") from None
        except self._failures as error:
            raise self._failed(error) from None
        return Spoken(bytes(answer.audio_content), name)

    def voices(self) -> tuple[str, ...]:
        """Names of the service's voices of `VOICE_TYPES`, sorted; asked for once.

        Raises:
            SpeechError: the service cannot be reached or has no such voice.
        """
        with self._lock:
            if not self._names:
                try:
                    answer = self._client.list_voices(
                        language_code=LANGUAGE, retry=self._retry, timeout=self._patience
                    )
                except self._failures as error:
                    raise self._failed(error) from None
                wanted = re.compile(rf"{LANGUAGE}-({'|'.join(VOICE_TYPES)})-[A-Za-z0-9]+")
                found = sorted(v.name for v in answer.voices if wanted.fullmatch(v.name))
                if not found:
                    what = f"the service has no {LANGUAGE} voice of type {', '.join(VOICE_TYPES)}"
                    raise SpeechError(what)
                self._names = tuple(found)
            return self._names

    def _failed(self, error: Exception) -> SpeechError:
        """One line; the service's own words are left out, for they may quote credentials."""
        cause = error.__cause__ if type(error).__name__ == "RetryError" else error
        return SpeechError(
            f"Google Text-to-Speech failed ({type(cause or error).__name__})",
            where=self._endpoint,
            do="check credentials, quota and network, then run again: what is done is kept",
        )


def _client(api: Any, endpoint: str) -> Any:
    """The service's client, by `endpoint` (see `GoogleEngine`)."""
    from google.auth.exceptions import GoogleAuthError

    if endpoint.rpartition(":")[0] in LOCAL_HOSTS:
        import grpc
        from google.cloud.texttospeech_v1.services.text_to_speech import transports

        channel = grpc.insecure_channel(endpoint)
        return api.TextToSpeechClient(
            transport=transports.TextToSpeechGrpcTransport(channel=channel)
        )
    try:
        return api.TextToSpeechClient(
            client_options={"api_endpoint": endpoint} if endpoint else None
        )
    except GoogleAuthError:
        raise SpeechError(
            "there are no Google credentials",
            do="set GOOGLE_APPLICATION_CREDENTIALS to a service account file, or run "
            "`gcloud auth application-default login`",
        ) from None
