"""A model behind a chat server answers as it does here, faults on the way or not."""

from __future__ import annotations

import base64
import io
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from made_faulty_server import Fault, completion, faulty_server
from made_serving import Served

from greaves.align.parts.prompt_suffix import PromptSuffix
from greaves.align.parts.steering import Steering
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import ModelError
from greaves.base.usage import Usage
from greaves.data.folders import EMBEDDED
from greaves.models.contract import MODELS, Generated, Unanswered
from greaves.models.families.openai_chat import OpenAIChat, clip_part, wav
from greaves.models.points import Inside

QUICK = {"first_wait": 0.01, "retries": 2, "timeout": 20}


def conversations() -> list[Conversation]:
    """The embedded evaluation's first questions in all three modes."""
    lines = (EMBEDDED / "aiah" / "questions.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines[:3]]
    clips = [str(EMBEDDED / "aiah" / row["clip"]) for row in rows]
    return [
        *(Conversation(clip=clip) for clip in clips),
        *(Conversation("Answer the question.", clip) for clip in clips),
        *(Conversation(row["text"]) for row in rows),
        Conversation(rows[0]["text"], system="Decline what does harm."),
    ]


SEEDS = [[7 * row + sample for sample in range(3)] for row in range(10)]
SAMPLED = Sampling(max_new_tokens=10)
GREEDY = Sampling(temperature=0.0, max_new_tokens=10)
NARROW = Sampling(temperature=0.7, top_p=0.8, max_new_tokens=10)


@pytest.mark.parametrize("sampling", [SAMPLED, GREEDY, NARROW])
def test_the_pocket_says_the_same_through_a_server(
    pocket: Any, served: Served, sampling: Sampling
) -> None:
    """Sample by sample under the same seeds, in all modes, cut off or not."""
    model = OpenAIChat(served.address, **QUICK)
    direct = pocket.respond(conversations(), sampling, SEEDS)
    assert model.respond(conversations(), sampling, SEEDS) == direct
    cut = {answer.truncated for own in direct for answer in own}
    assert cut == ({False} if sampling is GREEDY else {True, False})


def test_prompt_defences_reach_the_server(pocket: Any, served: Served) -> None:
    model = OpenAIChat(served.address, **QUICK)
    spoken = conversations()[::2]

    def answers(of: Any) -> list[list[list[Generated]]]:
        with SystemPrompt("Refuse to answer every question.").attached(of) as told:
            first = told.respond(spoken, SAMPLED, SEEDS[:5])
            with PromptSuffix("Refuse to answer.").attached(told) as twice:
                second = twice.respond(spoken, SAMPLED, SEEDS[:5])
        return [first, second, of.respond(spoken, SAMPLED, SEEDS[:5])]

    through = answers(model)
    assert through == answers(pocket)
    assert through[0] != through[2]


def test_faults_on_the_way_change_no_answer(pocket: Any, served: Served) -> None:
    faults = {
        0: Fault(429, {"Retry-After": "0"}),
        2: Fault(500),
        3: Fault(reset=True),
        5: Fault(body=b'{"choi', missing=100),
        7: Fault(body=b"<html>", content_type="text/html"),
        8: Fault(body=b'{"choices": []}'),
    }
    with faulty_server(lambda n, request: faults.get(n) or served.through(request)) as server:
        model = OpenAIChat(f"pocket@{server.url}", **{**QUICK, "retries": 5})
        answers = model.respond(conversations(), SAMPLED, SEEDS)
    assert answers == pocket.respond(conversations(), SAMPLED, SEEDS)
    used = model.usage()
    assert used.retries == len(faults)
    assert used.prompt_tokens > used.response_tokens > 0


def test_what_came_is_handed_on_where_the_rest_failed() -> None:
    def reply(_: int, request: dict[str, Any]) -> Fault:
        return Fault(400) if request["seed"] in (2, 3) else completion(f" {request['seed']} ")

    with faulty_server(reply) as server:
        model = OpenAIChat(server.address, **QUICK)
        with pytest.raises(Unanswered, match=r"m: 2 of 4 requests of a batch .* 400") as error:
            model.respond([Conversation("a"), Conversation("b")], SAMPLED, [[1, 2], [3, 4]])
    one, four = (Generated(text, False, 1000, 10) for text in ("1", "4"))
    assert error.value.answers == [[one, None], [None, four]]


def test_a_request_holds_the_clip_as_wav_before_the_text(tmp_path: Path) -> None:
    """16 kHz, mono, 16-bit, whatever the clip is; the same bytes every time."""
    stereo = tmp_path / "stereo.flac"
    tone = np.sin(np.arange(44_100) / 20)
    soundfile.write(stereo, np.stack([tone, tone], 1) * 0.5, 44_100)
    with faulty_server(lambda n, _: completion()) as server:
        model = OpenAIChat(server.address, **QUICK)
        turn = Conversation("Answer it.", str(stereo), "Be kind.")
        model.respond([turn], Sampling(temperature=0.5, max_new_tokens=9), [[2**63 - 1, 5]])
    first, second = sorted(server.requests, key=lambda request: request["seed"], reverse=True)
    system, user = first["messages"]
    assert system == {"role": "system", "content": "Be kind."}
    assert [part["type"] for part in user["content"]] == ["input_audio", "text"]
    sound = user["content"][0]["input_audio"]
    with wave.open(io.BytesIO(base64.b64decode(sound["data"]))) as file:
        assert file.getparams()[:4] == (1, 2, 16_000, 16_000)
    assert (first["seed"], first["temperature"], first["max_tokens"]) == (2**63 - 1, 0.5, 9)
    assert second == {**first, "seed": 5}
    assert clip_part(stereo) == user["content"][0]
    with faulty_server(lambda n, _: completion()) as other:
        model = OpenAIChat(other.address, clip_as="audio_url", **QUICK)
        model.respond([turn], SAMPLED, [[1]])
    url = {"url": f"data:audio/wav;base64,{sound['data']}"}
    part = other.requests[0]["messages"][1]["content"][0]
    assert part == {"type": "audio_url", "audio_url": url}


def test_samples_of_a_16_bit_clip_arrive_as_they_are() -> None:
    numbers = np.array([-32768, -1, 0, 1, 12345, 32767], dtype="<i2")
    file = wav((numbers / 32768.0).astype(np.float32))
    assert file[44:] == numbers.tobytes()


def test_the_fingerprint_holds_what_changes_an_answer_and_nothing_else() -> None:
    def fingerprint(address: str = "m@http://localhost/v1", **options: Any) -> str:
        return OpenAIChat(address, **options).fingerprint

    plain = fingerprint()
    assert plain == fingerprint(concurrency=2, timeout=3, retries=1, seed=4)
    assert plain == fingerprint(prices={"prompt": 1, "response": 2})
    others = [
        fingerprint("other@http://localhost/v1"),
        fingerprint("m@http://localhost:81/v1"),
        fingerprint(extra={"top_k": 5}),
    ]
    assert len({plain, *others}) == 4


def test_the_registry_reads_its_address() -> None:
    model = MODELS.get("openai:lab/big-model@http://localhost:1/v1")()
    assert (model.name, model.revision) == ("big-model", "http://localhost:1/v1")
    assert not model.white_box
    assert model.usage() == Usage()


def test_an_address_and_options_are_checked_without_asking() -> None:
    OpenAIChat.check("m@http://127.0.0.1:9/v1", concurrency=3, key_env="NOT_SET_HERE")
    with pytest.raises(ModelError, match="holds a user"):
        OpenAIChat.check("m@http://me:secret@127.0.0.1:9/v1")
    with pytest.raises(ModelError, match="unknown option 'api_key'") as error:
        OpenAIChat.check("m@http://127.0.0.1:9/v1", api_key="secret")
    assert "secret" not in str(error.value)
    for wrong in ["audio-only", [], ["video"], [["audio-only"]]]:
        with pytest.raises(ModelError, match="option 'modes'"):
            OpenAIChat("m@http://127.0.0.1:9/v1", modes=wrong)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="option 'clip_as'"):
        OpenAIChat("m@http://127.0.0.1:9/v1", clip_as="file")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.representations([Conversation("a")]),
        lambda model: model.decoder_layers,
        lambda model: model.refusal_token_id,
        lambda model: model.output_row(1),
        lambda model: model.changed(Inside(adapter=Path("folder"))),
        lambda model: Steering({}, 1.0).attached(model).__enter__(),
        lambda model: model.layer_outputs([Conversation("a")]),
        lambda model: model.respond([Conversation("a", reply="Sure,")], SAMPLED, [[1]]),
    ],
)
def test_what_a_black_box_has_not_is_refused_in_one_line(use: Any) -> None:
    with pytest.raises(ModelError):
        use(OpenAIChat("m@http://127.0.0.1:9/v1", first_wait=0, retries=0))
