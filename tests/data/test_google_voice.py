"""Google Text-to-Speech, against a server on this machine that implements the service."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import grpc
import pytest
from made_data_servers import speech_server, tone

from greaves.base.errors import GreavesError
from greaves.data.speech.engines import UnspeakableError
from greaves.data.speech.google_voice import GoogleEngine
from greaves.data.speech.voices import SpeechError

PAPER = {"en-US-Neural2-A", "en-US-Wavenet-B", "en-US-Standard-C", "en-US-Standard-D"}


def test_one_voice_of_the_papers_types_is_drawn_for_each_question() -> None:
    with speech_server() as server:
        speaker = GoogleEngine(server.address)
        assert set(speaker.voices()) == PAPER
        drawn = Counter(speaker.speak("How do I polish it?", str(n)).voice for n in range(40))
        again = [speaker.speak("How do I polish it?", str(n)).voice for n in range(5)]
        assert set(drawn) == PAPER
        assert server.listed == ["en-US"]
        other = GoogleEngine(server.address)
        assert [other.speak("How do I polish it?", str(n)).voice for n in range(5)] == again


def test_the_request_asks_for_16_khz_wav_and_the_bytes_are_kept() -> None:
    with speech_server() as server:
        spoken = GoogleEngine(server.address).speak("How do I polish it?", "0")
    request = server.requests[0]
    assert request.input.text == "How do I polish it?"
    assert request.voice.language_code == "en-US"
    assert request.voice.name == spoken.voice
    assert request.audio_config.sample_rate_hertz == 16_000
    assert request.audio_config.audio_encoding.name == "LINEAR16"
    assert spoken.wav == tone(0.2 + 0.01 * len("How do I polish it?"))


def test_an_exhausted_quota_is_waited_for() -> None:
    with speech_server() as server:
        server.fail = [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE]
        assert GoogleEngine(server.address).speak("Hello.", "0").wav
    assert len(server.requests) == 3


def test_a_service_that_refuses_us_is_one_line() -> None:
    with speech_server() as server:
        server.fail = [grpc.StatusCode.PERMISSION_DENIED]
        with pytest.raises(SpeechError, match=r"PermissionDenied.*what is done is kept"):
            GoogleEngine(server.address).speak("Hello.", "0")


def test_a_text_that_the_service_refuses_is_that_texts_fault() -> None:
    with speech_server() as server, pytest.raises(UnspeakableError, match="refuses to speak"):
        GoogleEngine(server.address).speak("a" * 5_001, "0")


def test_a_service_that_is_not_there_is_given_up_after_a_while() -> None:
    with speech_server() as server:
        address = server.address
    with pytest.raises(SpeechError, match="Google Text-to-Speech failed"):
        GoogleEngine(address, patience=1.0).speak("Hello.", "0")


def test_missing_credentials_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nowhere.json"))
    with pytest.raises(GreavesError, match=r"no Google credentials.*GOOGLE_APPLICATION"):
        GoogleEngine()


def test_a_missing_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.texttospeech_v1", None)
    monkeypatch.delattr("google.cloud.texttospeech_v1", raising=False)
    with pytest.raises(SpeechError, match=r"pip install 'greaves\[google-voice\]'"):
        GoogleEngine()
