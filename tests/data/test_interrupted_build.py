"""A build that is killed, or loses its server, goes on and asks nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import datasets
import grpc
import pytest
from made_builds import make, polite
from made_data_servers import Reply, chat_server, question_in, speech_server
from made_questions import write_dataset

from greaves.base.errors import DataError, StoreError
from greaves.data.alignment.verify import verify
from greaves.data.alignment.workshop import workshop
from greaves.data.speech.voices import SpeechError

PROGRAM = "from greaves.commands.data import app; app()"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_build_killed_while_rewriting_and_while_speaking_ends_as_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    dataset = write_dataset(tmp_path / "BeaverTails")
    with chat_server(polite) as server:
        make("mirror", dataset, tmp_path / "whole", server, per_category=4)
    held, reached = threading.Event(), threading.Event()

    def slow(question: str, number: int) -> Reply:
        if len(server.requests) == 7:
            reached.set()
            held.wait(20)
        return polite(question, number)

    out = tmp_path / "killed"
    with chat_server(slow) as server:
        command = [sys.executable, "-c", PROGRAM, "build", "mirror", "--out", str(out)]
        command += ["--dataset", str(dataset), "--per-category", "4", "--attempts", "4"]
        command += ["--rewriter", server.url, "--rewriter-model", "made-up"]
        (tmp_path / "one_at_a_time.yaml").write_text("rewriter: {parallel: 1}\nkind: mirror\n")
        command += ["--recipe", str(tmp_path / "one_at_a_time.yaml")]
        environment = {**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache")}

        first = subprocess.Popen(command, env=environment)
        assert reached.wait(30)
        first.send_signal(signal.SIGKILL)
        first.wait()
        held.set()
        second = subprocess.Popen(command, env=environment)
        clips = out / "build" / "clips.jsonl"
        while not (clips.is_file() and clips.read_bytes().count(b"\n") >= 5):
            assert second.poll() is None, "ended before it could be killed"
            time.sleep(0.005)
        second.send_signal(signal.SIGKILL)
        second.wait()
        spoken = len(clips.read_bytes().splitlines())
        assert spoken < 24
        assert not (out / "manifest.json").exists()
        with clips.open("ab") as file:
            file.write(b'{"item": "half a li')

        make("mirror", dataset, out, server, per_category=4)
        asked = Counter(question_in(request) for request in server.requests)
    # Only the request that was under way when the first build was killed is asked again.
    assert sorted(asked.values()) == [1] * 11 + [2]
    assert (out / "manifest.json").read_bytes() == (tmp_path / "whole/manifest.json").read_bytes()
    made = [json.loads(line)["item"] for line in clips.read_text().splitlines()]
    assert len(made) == len(set(made)) == 24, "no clip is spoken twice"
    assert verify(out).faults == ()


def test_a_rewriting_server_that_dies_costs_no_reply_twice(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "BeaverTails")
    alive = {"for": 5}

    def dying(question: str, number: int) -> Reply:
        if alive["for"] <= 0:
            return 503, {"Retry-After-Ms": "1"}, b""
        alive["for"] -= 1
        return polite(question, number)

    with chat_server(dying) as server:
        with pytest.raises(DataError, match=r"answered 503.*what is done is kept"):
            make("mirror", dataset, tmp_path / "set", server)
        alive["for"] = 100
        make("mirror", dataset, tmp_path / "set", server)
        assert alive["for"] == 99, "one rewrite of six was left"


def test_a_speech_service_that_fails_costs_no_clip_twice(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "BeaverTails")
    with speech_server() as server:
        voice = {"engine": "google", "endpoint": server.address, "parallel": 1}

        def say(text: str) -> bytes:
            if len(server.requests) == 5:
                server.fail = [grpc.StatusCode.PERMISSION_DENIED]
            return plain(text)

        plain, server.say = server.say, say
        with pytest.raises(SpeechError, match="PermissionDenied"):
            make("basic", dataset, tmp_path / "set", voice=voice)
        assert len(server.requests) == 6
        make("basic", dataset, tmp_path / "set", voice=voice)
        asked = Counter(request.input.text for request in server.requests)
    assert sorted(asked.values()) == [1] * 11 + [2]


def test_two_builds_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "BeaverTails")
    with (
        workshop(tmp_path / "set"),
        pytest.raises(StoreError, match=r"another build .* is writing.*choose another with --out"),
    ):
        make("basic", dataset, tmp_path / "set")


def test_a_lost_or_changed_clip_is_made_again(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "BeaverTails")
    make("basic", dataset, tmp_path / "set")
    manifest = (tmp_path / "set" / "manifest.json").read_bytes()
    (tmp_path / "set" / "clips" / "basic-benign-0000.wav").unlink()
    (tmp_path / "set" / "clips" / "basic-benign-0001.wav").write_bytes(b"RIFF")
    make("basic", dataset, tmp_path / "set")
    assert verify(tmp_path / "set").faults == ()
    assert (tmp_path / "set" / "manifest.json").read_bytes() == manifest
