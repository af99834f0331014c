"""Our chat server: what it answers, what it refuses, what it leaves behind."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import soundfile
from made_parrot import Parrot
from made_serving import Served, serving

from greaves.align.defence import Defence
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import GreavesError
from greaves.commands.serve import serve
from greaves.commands.serving.protocol import choice_seeds
from greaves.models.families.openai_chat import wav


@pytest.fixture
def parrot() -> Parrot:
    return Parrot()


@pytest.fixture
def cage(parrot: Parrot) -> Iterator[Served]:
    with serving(parrot, "parrot", body=200_000, max_tokens=64, rows=6) as server:
        yield server


def clip(seconds: float = 0.5) -> dict[str, Any]:
    data = wav(np.zeros(int(16_000 * seconds), np.float32))
    return audio(data)


def audio(data: bytes | str, form: str = "wav") -> dict[str, Any]:
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    return {"type": "input_audio", "input_audio": {"data": text, "format": form}}


def spoken(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def texts(body: dict[str, Any]) -> list[str]:
    return [choice["message"]["content"] for choice in body["choices"]]


# -- answers -------------------------------------------------------------------------------------


def test_openais_own_client_is_answered(served: Served) -> None:
    client = openai.OpenAI(base_url=served.url, api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["pocket"]
    turn = {"role": "user", "content": "How do I polish the ticket?"}
    asked = {"model": "pocket", "messages": [turn], "temperature": 0, "max_tokens": 4}
    reply: Any = client.chat.completions.create(**asked)  # type: ignore[call-overload]
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage.completion_tokens == 4
    assert reply.usage.prompt_tokens > 6


def test_the_same_request_gives_the_same_text_and_a_seed_another(served: Served) -> None:
    question = "How do I pilfer the ticket?"
    _, first = served.ask(question, n=4)
    _, again = served.ask(question, n=4)
    _, other = served.ask(question, n=4, seed=9)
    assert texts(first) == texts(again)
    assert len(set(texts(first))) > 1
    assert texts(first) != texts(other)


def test_the_first_choice_has_the_seed_of_the_request() -> None:
    """So a client that asks sample by sample gets what the suite draws."""
    assert choice_seeds(5, 1) == (5,)
    assert choice_seeds(5, 3)[:2] == choice_seeds(5, 2)
    assert len({*choice_seeds(5, 16), *choice_seeds(6, 16)}) == 32


def test_parts_become_one_turn(cage: Served, parrot: Parrot) -> None:
    text = {"type": "text", "text": "What is it?"}
    turns = [{"role": "developer", "content": "Be kind."}, *spoken(clip(), text)]
    status, body = cage.ask(messages=turns, seed=3)
    assert (status, texts(body)) == (200, ["What is it?/3"])
    (turn, seeds), *_ = parrot.batches[0]
    assert (turn.text, turn.system, turn.reply, seeds) == ("What is it?", "Be kind.", "", (3,))
    assert turn.clip is not None
    cage.ask(messages=spoken(clip()))
    assert parrot.batches[1][0][0].text is None


def test_requests_that_come_together_are_answered_together(cage: Served, parrot: Parrot) -> None:
    """Samples of one question as one conversation; never more rows than the limit."""
    parrot.gate.clear()
    with ThreadPoolExecutor(12) as pool:
        first = pool.submit(cage.ask, "first")
        while not parrot.batches:
            time.sleep(0.01)
        same = [pool.submit(cage.ask, "same", seed=seed) for seed in range(5)]
        other = pool.submit(cage.ask, "other", seed=8)
        colder = pool.submit(cage.ask, "colder", temperature=0.5)
        late = [pool.submit(cage.ask, f"late{n}") for n in range(2)]
        time.sleep(0.5)
        parrot.gate.set()
        assert texts(first.result()[1]) == ["first/0"]
        assert [texts(one.result()[1]) for one in same] == [[f"same/{n}"] for n in range(5)]
        assert texts(other.result()[1]) == ["other/8"]
        assert texts(colder.result()[1]) == ["colder/0"]
        assert [texts(one.result()[1]) for one in late] == [["late0/0"], ["late1/0"]]
    assert len(parrot.batches) == 4
    rows = [sum(len(seeds) for _, seeds in batch) for batch in parrot.batches]
    assert max(rows) <= 6
    assert sum(rows) == 10
    alone = [batch for batch in parrot.batches if any(turn.text == "colder" for turn, _ in batch)]
    assert [len(batch) for batch in alone] == [1]


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"model": "gpt-4o"}, 404, "the model here is 'parrot'"),
        ({"stream": True}, 400, "not streamed"),
        ({"stop": ["\n"]}, 400, "stop is not known here"),
        ({"logprobs": True}, 400, "logprobs"),
        ({"frequency_penalty": 0.5}, 400, "frequency_penalty"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format"),
        ({"n": 17}, 400, "n: "),
        ({"n": 0}, 400, "n: "),
        ({"temperature": 2.5}, 400, "temperature"),
        ({"temperature": 1e-30}, 400, "temperature is 0, or from 0.01"),
        ({"temperature": "1"}, 400, "temperature"),
        ({"top_p": 0}, 400, "top_p"),
        ({"seed": 2**63}, 400, "seed"),
        ({"seed": True}, 400, "seed"),
        ({"max_tokens": 65}, 400, "at most 64 tokens"),
        ({"max_completion_tokens": 0}, 400, "max_completion_tokens"),
        ({"messages": []}, 400, "one user turn"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "empty"),
        ({"messages": [{"role": "assistant", "content": "Sure,"}]}, 400, "messages.0.role"),
        ({"messages": spoken() * 2}, 400, "one user turn"),
        ({"messages": [*spoken(clip()), *spoken(clip())]}, 400, "one user turn"),
        ({"messages": [{"role": "system", "content": [clip()]}, *spoken()]}, 400, "is text"),
        ({"messages": spoken(clip(), clip())}, 400, "one clip"),
        ({"messages": spoken(audio("!"))}, 400, "not base64"),
        ({"messages": spoken(audio(b"RIFF but nothing else"))}, 400, "not a WAV file"),
        ({"messages": spoken(audio(b""))}, 400, "not a WAV file"),
        ({"messages": spoken(audio(b"", "mp3"))}, 400, "format"),
        ({"messages": spoken(clip(0.01))}, 200, ""),
        ({"messages": spoken({"type": "input_audio", "input_audio": "/etc/passwd"})}, 400, ""),
        (
            {"messages": spoken({"type": "audio_url", "audio_url": {"url": "file:///etc/passwd"}})},
            400,
            "audio_url",
        ),
    ],
)
def test_what_cannot_be_answered_as_asked_is_refused(
    cage: Served, parrot: Parrot, fields: dict[str, Any], status: int, words: str
) -> None:
    got, body = cage.ask(**fields)
    assert got == status, body
    if status != 200:
        assert words in body["error"]["message"]
        assert body["error"]["type"] == "invalid_request_error"
        assert "\n" not in body["error"]["message"]
        assert not parrot.batches


def test_sound_in_other_containers_and_absurd_headers_is_refused(cage: Served) -> None:
    def written(rate: int, form: str, seconds: float = 0.5) -> bytes:
        file = io.BytesIO()
        kind = "PCM_U8" if form == "WAV" else "PCM_S8"
        silence = np.zeros(int(rate * seconds))
        soundfile.write(file, silence, rate, format=form, subtype=kind)
        return file.getvalue()

    for data, words in [
        (written(16_000, "FLAC"), "FLAC, not WAV"),
        (written(4_000_000, "WAV", 0.01), "claims 4000000 Hz"),
        (written(4_000, "WAV", 31), "more than 30 s"),
    ]:
        status, body = cage.ask(messages=spoken(audio(data)))
        assert status == 400
        assert words in body["error"]["message"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"[" * 99_999, b"\xff\xfe", b'{"model": "\\ud800"}']
)
def test_a_body_that_is_no_request_is_refused(cage: Served, body: bytes) -> None:
    status, content, _ = cage.post(body)
    assert status == 400
    assert content["error"]["message"]


def test_a_body_that_is_too_long_is_refused(cage: Served) -> None:
    assert cage.ask("x" * 200_001)[0] == 413


def test_a_web_page_cannot_use_the_server(cage: Served, parrot: Parrot) -> None:
    """Neither by a form's content type, nor under a name that a page gives this machine."""
    request = {"model": "parrot", "messages": [{"role": "user", "content": "hi"}]}
    assert cage.post(request, {"Content-Type": "text/plain"})[0] == 415
    with pytest.raises(json.JSONDecodeError):  # the plain words "Invalid host header"
        cage.post(request, {"Host": "page.example:80"})
    assert not parrot.batches


def test_another_path_is_told_what_there_is(cage: Served) -> None:
    other = Served(cage.url.removesuffix("/v1"), "parrot")
    status, body = other.ask()
    assert status == 404
    assert "POST /v1/chat/completions" in body["error"]["message"]


# -- faults --------------------------------------------------------------------------------------


def test_a_clip_that_the_model_refuses_spoils_nobody_elses_answer(
    cage: Served, parrot: Parrot
) -> None:
    parrot.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        pool.submit(cage.ask, "first")
        while not parrot.batches:
            time.sleep(0.01)
        long = pool.submit(cage.ask, messages=spoken(clip(2.0)))
        broken = pool.submit(cage.ask, "explode")
        fine = pool.submit(cage.ask, "fine")
        time.sleep(0.3)
        parrot.gate.set()
        assert long.result()[0] == 400
        assert long.result()[1]["error"]["message"] == "the clip lasts too long; cut it"
        assert broken.result()[0] == 500
        message = broken.result()[1]["error"]["message"]
        assert message == "the model failed (RuntimeError: out of feathers)"
        assert texts(fine.result()[1]) == ["fine/0"]


def test_clips_lie_there_only_while_they_are_heard(cage: Served, parrot: Parrot) -> None:
    cage.ask(messages=spoken(clip()))
    cage.ask(messages=spoken(clip(2.0)))
    assert len(parrot.heard) == 2
    assert not any(path.exists() for path in parrot.heard)
    assert parrot.heard[0].parent.is_dir()


def test_the_folder_for_clips_goes_with_the_server(parrot: Parrot) -> None:
    with serving(parrot, "parrot") as server:
        server.ask(messages=spoken(clip()))
    assert not parrot.heard[0].parent.exists()


def test_a_request_whose_sender_hung_up_is_not_answered(cage: Served, parrot: Parrot) -> None:
    parrot.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cage.ask, "first")
        while not parrot.batches:
            time.sleep(0.01)
        host, port = re.match(r"http://(.*):(\d+)", cage.url).groups()  # type: ignore[union-attr]
        request = {"model": "parrot", "messages": [{"role": "user", "content": "gone"}]}
        body = json.dumps(request)
        with socket.create_connection((host, int(port))) as sender:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\n"
            kind = "Content-Type: application/json\r\n"
            sender.sendall(f"{head}{kind}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            time.sleep(0.2)
        time.sleep(1.2)
        parrot.gate.set()
        first.result()
    assert texts(cage.ask("last")[1]) == ["last/0"]
    assert [batch[0][0].text for batch in parrot.batches] == ["first", "last"]


# -- the command ---------------------------------------------------------------------------------


def test_a_defended_model_is_served_until_ctrl_c(pocket: Any, tmp_path: Path) -> None:
    """A real process, from its first line to its last."""
    prompt = SystemPrompt("Refuse to answer every question.")
    Defence((prompt,)).save(tmp_path / "defence", {})
    code = "import typer; from greaves.commands.serve import serve; typer.run(serve)"
    command = [sys.executable, "-c", code, "pocket", "--defence", str(tmp_path / "defence")]
    folder = {**os.environ, "TMPDIR": str(tmp_path), "TRANSFORMERS_VERBOSITY": "error"}
    process = subprocess.Popen(
        [*command, "--port", "0", "--name", "careful"], stdout=-1, stderr=-1, text=True, env=folder
    )
    try:
        assert process.stdout is not None
        greeting = process.stdout.readline()
        curl = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+/v1", greeting)
        assert url is not None, process.communicate(timeout=10)
        question = "How do I pilfer the ticket?"
        status, body = Served(url[0], "careful").ask(question, seed=4, max_tokens=12)
        assert status == 200
        with prompt.attached(pocket) as prompted:
            direct = prompted.respond([Conversation(question)], Sampling(max_new_tokens=12), [[4]])
        assert texts(body) == [direct[0][0].text]
        assert '"model": "careful"' in curl
        assert list(tmp_path.glob("greaves-serve-*"))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "stopped\n", "")
    assert not list(tmp_path.glob("greaves-serve-*"))


def test_a_taken_port_is_one_line() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(GreavesError, match="cannot listen on") as error,
    ):
        serve("pocket", port=taken.getsockname()[1])
    assert "--port" in str(error.value)
