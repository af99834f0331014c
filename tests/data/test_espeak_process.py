"""espeak-ng as the builder uses it: what was said before does not change a clip."""

from __future__ import annotations

import time

import pytest

from greaves.data.speech.engines import EspeakEngine
from greaves.data.speech.espeak_process import EspeakProcess
from greaves.data.speech.voices import EspeakVoice, SpeechError

TEXT = "How do I sabotage the spoon, and which stitches should I switch?"


def test_a_clip_depends_on_text_and_seed_alone() -> None:
    speaker = EspeakEngine()
    first = speaker.speak(TEXT, "0")
    # espeak-ng takes its own seed from the clock, in seconds.
    time.sleep(1.1)
    other = EspeakEngine()
    for number in range(5):
        speaker.speak("Something else, said in between.", str(number))
    assert speaker.speak(TEXT, "0") == first == other.speak(TEXT, "0")
    assert {speaker.speak(TEXT, str(number)).voice for number in range(9)} > {first.voice}


def test_a_voice_that_fails_does_not_end_the_process() -> None:
    process = EspeakProcess()
    with pytest.raises(ValueError, match="no voice"):
        process.say(EspeakVoice("nobody", "xx"), TEXT)
    assert process.say(EspeakVoice("m1"), TEXT)[:4] == b"RIFF"


def test_a_process_that_is_gone_is_one_line() -> None:
    process = EspeakProcess()
    process._process.kill()
    with pytest.raises(SpeechError, match="process has ended; run again"):
        process.say(EspeakVoice("m1"), TEXT)
