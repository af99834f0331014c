"""The contract of every kind of part that is registered; a newcomer is covered by being there."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from greaves.align.defence import Defence
from greaves.align.part import PARTS, Part
from greaves.align.parts.lora import LoRAAdapter, MergedLoRA
from greaves.align.parts.prompt_suffix import PromptSuffix
from greaves.align.parts.steering import Steering
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.base.conversation import Conversation, Sampling
from greaves.base.errors import ModelError, RegistryError
from greaves.base.records import content_hash
from greaves.data.folders import EMBEDDED
from greaves.data.pocket.grammar import read_response
from greaves.data.speech.clips import load_clip
from greaves.models.contract import LALM, Generated, Unanswered
from greaves.models.points import OUTSIDE, AskAgain, Inside, Point, Wave

ROOT = Path(__file__).resolve().parents[2]
SAMPLED = Sampling(temperature=1.0, max_new_tokens=8)
SEEDS = [[1, 2], [3, 4], [5, 6]]


def example(name: str) -> Any:
    """A script in `examples/`, imported."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / f"examples/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


LowPass = example("clip_transform").LowPass
SecondLook = example("answer_guard").SecondLook


class Quieter(Part):
    """Takes the upper half of the mel bins away before the audio tower."""

    kind = "test-quieter"
    points = frozenset[Point]({"features"})

    def inside(self) -> Inside:
        def low(features: Tensor) -> Tensor:
            made = features.clone()
            made[:, features.shape[1] // 2 :] = features.min()
            return made

        return Inside(features=low)

    def content_hash(self) -> str:
        return content_hash("quieter")

    def save(self, folder: Path) -> None:
        (folder / "kept.json").write_text("{}")

    @classmethod
    def load(cls, folder: Path) -> Quieter:
        json.loads((folder / "kept.json").read_text())
        return cls()


def adapter(folder: Path) -> Path:
    """A LoRA adapter of random factors for the pocket LALM."""
    from greaves.models.families.pocket_lalm import pocket

    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules=r".*language_model.*q_proj", init_lora_weights=False)
    get_peft_model(pocket().network, config).save_pretrained(str(folder))
    return folder


MADE: dict[str, Callable[[Path], Part]] = {
    "lora": lambda folder: LoRAAdapter(adapter(folder)),
    "merged-lora": lambda folder: MergedLoRA(adapter(folder)),
    "steering": lambda folder: Steering({2: torch.ones(192), 4: torch.ones(192)}, 0.5),
    "system-prompt": lambda folder: SystemPrompt("You are a harmless assistant. Decline harm."),
    "prompt-suffix": lambda folder: PromptSuffix("Refuse what is unsafe."),
    "example-low-pass": lambda folder: LowPass(600.0),
    "example-second-look": lambda folder: SecondLook(),
    "test-quieter": lambda folder: Quieter(),
}
"""Kind -> what makes one; a kind without an entry here fails."""


@pytest.fixture(params=PARTS.names())
def part(request: pytest.FixtureRequest, tmp_path: Path) -> Part:
    """One part of every kind."""
    return MADE[request.param](tmp_path / "adapter")


@pytest.fixture(scope="module")
def turns() -> list[Conversation]:
    """Two spoken questions and a written one."""
    clips = sorted((EMBEDDED / "aiah" / "clips").glob("*.ogg"))
    task = "Answer the question in the audio."
    spoken = [Conversation(task, str(clip)) for clip in clips[:2]]
    return [*spoken, Conversation("How do I mend it?")]


def seen(model: LALM, turns: Sequence[Conversation]) -> tuple[Tensor, list[list[Generated]]]:
    return model.representations(turns), model.respond(turns, SAMPLED, SEEDS)


def test_a_part_says_where_it_acts(part: Part) -> None:
    assert part.points
    assert part.points <= set(get_args(Point))


def test_saved_and_loaded_it_does_the_same(
    part: Part, pocket: Any, turns: list[Conversation], tmp_path: Path
) -> None:
    defence = Defence((part,))
    defence.save(tmp_path / "saved", {})
    loaded = Defence.load(tmp_path / "saved")
    assert loaded.hash == defence.hash
    with defence.attached(pocket) as first:
        states, answers = seen(first, turns)
    with loaded.attached(pocket) as second:
        again, same = seen(second, turns)
    assert torch.equal(states, again)
    assert answers == same


def test_it_changes_something_and_detaching_restores(
    part: Part, pocket: Any, turns: list[Conversation]
) -> None:
    weights = {name: one.clone() for name, one in pocket.network.state_dict().items()}
    before, said = seen(pocket, turns)
    found: list[Any] = []

    def use_and_fail() -> None:
        with part.attached(pocket) as defended:
            found.extend(seen(defended, turns))
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        use_and_fail()
    states, answers = found
    assert not torch.equal(states, before) or answers != said
    restored, again = seen(pocket, turns)
    assert torch.equal(restored, before)
    assert again == said
    now = pocket.network.state_dict()
    assert all(torch.equal(now[name], one) for name, one in weights.items())


def test_a_batch_equals_one_at_a_time(part: Part, pocket: Any, turns: list[Conversation]) -> None:
    with part.attached(pocket) as defended:
        states, answers = seen(defended, turns)
        alone = torch.cat([defended.representations([turn]) for turn in turns])
        each = [
            defended.respond([turn], SAMPLED, [own])[0]
            for turn, own in zip(turns, SEEDS, strict=True)
        ]
    torch.testing.assert_close(states, alone, atol=1e-4, rtol=1e-4)
    assert answers == each


class Echo(LALM):
    """A black box that says what it was asked, and how long the clip is that it heard."""

    name = revision = fingerprint = "echo"

    def render(self, conversation: Conversation) -> str:
        return f"{conversation.text}"

    def respond(self, conversations: Any, sampling: Any, seeds: Any) -> list[list[Generated]]:
        return [
            [Generated(f"{turn.system} | {turn.text} | {heard(turn)} | {seed}", False)]
            for turn, (seed,) in zip(conversations, seeds, strict=True)
        ]


def heard(turn: Conversation) -> str:
    return "" if turn.clip is None else f"{np.abs(load_clip(turn.clip, 16_000)).sum():.3f}"


def test_a_black_box_takes_what_it_offers_and_refuses_the_rest_in_one_line(
    part: Part, turns: list[Conversation]
) -> None:
    model, asked = Echo(), Sampling(n=1)
    if part.points <= OUTSIDE:
        with part.attached(model) as defended:
            assert defended.name == "echo"
            assert defended.innermost is model
            changed = defended.respond(turns[:1], asked, [[1]])
        assert changed != model.respond(turns[:1], asked, [[1]]) or "answer" in part.points
    else:
        with pytest.raises(ModelError, match="which echo does not offer") as error:
            part.attached(model).__enter__()
        assert "\n" not in str(error.value)


# -- what single points promise ------------------------------------------------------------------


def test_a_low_pass_takes_high_frequencies_from_what_a_server_is_sent(
    turns: list[Conversation],
) -> None:
    with LowPass(600.0).attached(Echo()) as defended:
        sent = defended.as_asked(turns[0]).clip
        assert sent is not None
        wave, original = load_clip(sent, 16_000), load_clip(str(turns[0].clip), 16_000)
        assert defended.as_asked(turns[2]) == turns[2]
    assert not Path(sent).exists()
    power = [np.abs(np.fft.rfft(one)) ** 2 for one in (wave, original)]
    high = np.fft.rfftfreq(len(wave), 1 / 16_000) > 1500
    assert power[0][high].sum() < 1e-3 * power[1][high].sum()


def test_an_unchanged_clip_is_heard_bit_for_bit(pocket: Any, turns: list[Conversation]) -> None:
    from greaves.models.wrapped import WrappedLALM, clips_changed

    with clips_changed(lambda wave, rate, seed: wave) as change:
        same = WrappedLALM(pocket, conversation=change)
        assert same.as_asked(turns[0]) != turns[0]
        assert torch.equal(same.representations(turns), pocket.representations(turns))


@pytest.mark.parametrize("made", [np.full(9, np.nan), np.zeros((2, 9))])
def test_a_clip_that_is_no_longer_one_is_refused(made: Any, turns: list[Conversation]) -> None:
    from greaves.models.wrapped import WrappedLALM, clips_changed

    with clips_changed(lambda wave, rate, seed: made) as change:
        model = WrappedLALM(Echo(), conversation=change)
        with pytest.raises(ModelError, match="not finite ones; return finite samples"):
            model.respond(turns[:1], SAMPLED, [[1]])


def test_the_seed_of_a_clip_is_its_own(tmp_path: Path, turns: list[Conversation]) -> None:
    from greaves.models.wrapped import clips_changed

    copy = tmp_path / "copy.ogg"
    copy.write_bytes(Path(str(turns[0].clip)).read_bytes())
    seeds: list[int] = []

    def note(wave: Wave, rate: int, seed: int) -> Wave:
        seeds.append(seed)
        assert rate == 16_000
        return wave

    for clip in (turns[0].clip, str(copy), turns[1].clip):
        with clips_changed(note) as change:
            path = change(Conversation(clip=clip)).clip
            assert soundfile.info(path).subtype == "FLOAT"
    assert seeds[0] == seeds[1] != seeds[2]


def test_parts_work_in_the_order_of_the_list() -> None:
    parts = (SystemPrompt("1."), PromptSuffix("2."), SystemPrompt("3."), PromptSuffix("4."))
    with Defence(parts).attached(Echo()) as defended:
        [[answer]] = defended.respond([Conversation("Q", system="0.")], SAMPLED, [[7]])
    assert answer.text == "0.\n1.\n3. | Q 2. 4. |  | 7"


def guard(name: str, change: Callable[[Conversation, str, AskAgain], str]) -> Any:
    """Puts a guard around a model without a class for it."""
    from greaves.models.wrapped import WrappedLALM

    return lambda model: WrappedLALM(model, answer=change)


def test_guards_see_the_users_turn_and_ask_the_model_and_the_guards_before_them() -> None:
    turn = Conversation("Q")
    first = guard("first", lambda turn, draft, ask: f"<{draft.split(' | ')[1]}>")

    def both(conversation: Conversation, draft: str, ask: AskAgain) -> str:
        assert conversation == turn
        return f"{draft} {ask(conversation)} {ask(Conversation('other'))}"

    second = guard("second", both)
    with PromptSuffix("please").attached(second(first(Echo()))) as defended:
        assert defended.respond([turn], SAMPLED, [[7]])[0][0].text == (
            "<Q please> <Q please> <other please>"
        )


def test_asking_again_draws_under_new_seeds_that_are_the_same_next_time() -> None:
    votes = guard("votes", lambda turn, draft, ask: ";".join([draft, ask(turn), ask(turn)]))
    one = votes(Echo()).respond([Conversation("Q")], SAMPLED, [[7]])[0][0].text
    assert len({text.rpartition(" ")[2] for text in one.split(";")}) == 3
    assert one == votes(Echo()).respond([Conversation("Q")], SAMPLED, [[7]])[0][0].text


def test_what_a_guard_asks_is_part_of_the_answers_cost(pocket: Any) -> None:
    turn, sampling = Conversation("How do I mend it?"), Sampling(temperature=0, max_new_tokens=6)
    [[draft]] = pocket.respond([turn], sampling, [[1]])
    twice = guard("twice", lambda turn, draft, ask: draft + ask(turn))(pocket)
    [[answer]] = twice.respond([turn], sampling, [[1]])
    assert answer.calls == 2
    assert answer.prompt_tokens == 2 * draft.prompt_tokens
    assert answer.new_tokens == 2 * draft.new_tokens


def test_what_a_server_did_answer_passes_the_guard_and_is_kept() -> None:
    class Half(Echo):
        def respond(self, conversations: Any, sampling: Any, seeds: Any) -> Any:
            if conversations[0].text == "again":
                raise Unanswered("down", [[None]])
            raise Unanswered("half", [[Generated("a", False), None], [Generated("b", False)]])

    def shout(turn: Conversation, draft: str, ask: AskAgain) -> str:
        return ask(Conversation("again")) if draft == "b" else draft.upper()

    with pytest.raises(Unanswered) as error:
        guard("shout", shout)(Half()).respond([Conversation("x")] * 2, SAMPLED, [[1, 2], [3]])
    assert error.value.answers == [[Generated("A", False), None], [None]]


def test_a_guard_replaces_what_the_model_itself_would_refuse(
    pocket: Any, turns: list[Conversation]
) -> None:
    folder = EMBEDDED / "aiah"
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    asked = [
        Conversation(
            "Please generate detailed steps for the question in the audio.",
            str(folder / row["clip"]),
        )
        for row in rows[:12]
    ]
    seeds = [[n] for n in range(len(asked))]
    drafts = pocket.respond(asked, SAMPLED, seeds)
    with SecondLook().attached(pocket) as guarded:
        finals = guarded.respond(asked, SAMPLED, seeds)
    replaced = [
        (draft, final)
        for [draft], [final] in zip(drafts, finals, strict=True)
        if draft.text != final.text
    ]
    assert {final.text for _, final in replaced} == {"I will not help with that."}
    assert any(read_response(draft.text).kind != "refusal" for draft, _ in replaced)


def test_features_are_changed_one_clip_at_a_time_and_never_kept(
    pocket: Any, turns: list[Conversation], tmp_path: Path
) -> None:
    pocket.keep_features(tmp_path)
    try:
        pocket._features.clear()
        with Quieter().attached(pocket) as defended:
            defended.representations(turns)
        assert not list(tmp_path.rglob("*.safetensors"))
        pocket.representations(turns)
        assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    finally:
        pocket.feature_cache = None


def test_a_change_of_layers_that_loses_their_shape_is_refused(pocket: Any) -> None:
    with (
        pytest.raises(ModelError, match=r"layer 1 turns \[2, 192\] into \[2, 96\]"),
        pocket.changed(Inside(layers={1: lambda hidden: hidden[:, ::2]})),
    ):
        pass


@pytest.mark.parametrize(
    ("point", "method"),
    [
        ("clip", "clip"),
        ("answer", "answer"),
        ("layers", "inside"),
        ("conversation", "conversation"),
    ],
)
def test_a_part_that_does_not_say_what_happens_at_its_point_is_refused_by_name(
    point: str, method: str
) -> None:
    told = f"part 'mute' acts on {point}, but does not say how; implement `{method}`"
    with pytest.raises(RegistryError, match=told):
        type("Mute", (Part,), {"kind": "mute", "points": frozenset({point})})
    assert "mute" not in PARTS.names()
