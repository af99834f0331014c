"""Users of lm-eval get the same tasks and the same responses, by lm-eval's own command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_folders import copy_questions
from warm import start_script

from greaves.data.task import TASKS

YAML_FOLDER = Path(__file__).parents[2] / "tasks" / "lm_eval_yaml"

CALLS: dict[str, list[object]] = {
    "a model of lm-eval's own": [
        *("lm_eval", "run", "--model", "dummy"),
        *("--tasks", "aiah-text-only", "--include_path", YAML_FOLDER),
    ],
    "lm_eval, a YAML by path": [
        *("lm_eval", "run", "--model", "greaves", "--model_args", "model=pocket"),
        *("--tasks", YAML_FOLDER / "aiah_audio_text.yaml"),
    ],
    "greaves lm-eval, tasks by name": [
        *("greaves", "lm-eval", "run", "--model", "greaves", "--model_args", "model=pocket"),
        *("--tasks", "aiah-audio-text,aiah-over-rejection", "--include_path", YAML_FOLDER),
    ],
}
"""Three calls as a user types them. Each first indexes lm-eval's own tasks, which takes long."""

BY_PATH, BY_NAME = list(CALLS)[1:]


class Outcome:
    """What one call left behind.

    Attributes:
        results: task -> metrics, as in lm-eval's results file.
        settings: task -> its configuration, as recorded beside the results.
        samples: task -> its logged documents.
    """

    def __init__(self, folder: Path) -> None:
        [path] = folder.rglob("results_*.json")
        content = json.loads(path.read_text())
        self.results: dict[str, dict[str, Any]] = content["results"]
        self.settings: dict[str, dict[str, Any]] = content["configs"]
        self.samples: dict[str, list[dict[str, Any]]] = {
            task: [
                json.loads(line)
                for path in folder.rglob(f"samples_{task}_*.jsonl")
                for line in path.read_text().splitlines()
            ]
            for task in self.results
        }

    def texts(self, task: str) -> dict[str, list[str]]:
        """Question id -> its responses."""
        return {row["doc"]["id"]: [text for [text] in row["resps"]] for row in self.samples[task]}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """The three calls, run at once."""
    folder = tmp_path_factory.mktemp("lm-eval")
    running = {}
    for number, (name, (script, *call)) in enumerate(CALLS.items()):
        place = folder / str(number)
        place.mkdir()
        options = ["--limit", "2", "--log_samples", "--output_path", "out"]
        running[name] = (start_script(script, [*call, *options], place), place)
    try:
        for name, (process, place) in running.items():
            process.join(300)
            said = (place / "out.txt").read_text() + (place / "err.txt").read_text()
            assert process.exitcode == 0, f"{name}: {said}"
            assert "Traceback" not in said
        yield {name: Outcome(place / "out") for name, (_, place) in running.items()}
    finally:
        for process, _ in running.values():
            process.kill()


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[str]]:
    """(task, question id) -> the responses that our own runner stores for the same questions."""
    from greaves.base.progress import Steps
    from greaves.base.run_folder import RunFolder
    from greaves.recipe.reading import read_plan
    from greaves.run.runner import run

    folder = tmp_path_factory.mktemp("own")
    copy_questions(folder / "questions", 2, 2)
    recipe = {
        "name": "own",
        "models": ["pocket"],
        "methods": ["vanilla"],
        "benchmarks": {"aiah": {"data": "questions", "judge": "pocket-rules"}},
        "tasks": ["aiah-audio-text", "aiah-over-rejection"],
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(recipe))
    run(read_plan(folder / "own.yaml"), folder / "run", steps=Steps(plain=True))
    texts: dict[tuple[str, str], list[str]] = {}
    for response in RunFolder(folder / "run").cell("pocket", "vanilla", 0).current_responses():
        texts.setdefault((response.task, response.question_id), []).append(response.text)
    return texts


def test_every_task_has_a_yaml_for_lm_eval_and_every_yaml_a_task() -> None:
    found = {}
    for path in YAML_FOLDER.glob("*.yaml"):
        lines = path.read_text().splitlines()
        [name] = [line.removeprefix("task: ") for line in lines if line.startswith("task: ")]
        assert path.stem == name.replace("-", "_")
        found[name] = path
    built_in = {
        entry.name for entry in TASKS.entries() if entry.source.startswith("greaves.tasks.")
    }
    assert found.keys() == built_in


@pytest.mark.parametrize(
    ("call", "task", "metric"),
    [
        (BY_PATH, "aiah-audio-text", "asr"),
        (BY_NAME, "aiah-audio-text", "asr"),
        (BY_NAME, "aiah-over-rejection", "orr"),
    ],
)
def test_results_carry_the_metric_by_question(
    outcomes: dict[str, Outcome], call: str, task: str, metric: str
) -> None:
    results = outcomes[call].results[task]
    assert results["sample_len"] == 2
    assert 0 <= results[f"{metric},none"] <= 1
    by_question = [row[metric] for row in outcomes[call].samples[task]]
    assert results[f"{metric},none"] == pytest.approx(sum(by_question) / 2)


@pytest.mark.parametrize(
    ("call", "task"),
    [
        (BY_PATH, "aiah-audio-text"),
        (BY_NAME, "aiah-audio-text"),
        (BY_NAME, "aiah-over-rejection"),
    ],
)
def test_five_responses_a_question_equal_those_that_our_own_runner_stores(
    outcomes: dict[str, Outcome],
    stored: dict[tuple[str, str], list[str]],
    call: str,
    task: str,
) -> None:
    texts = outcomes[call].texts(task)
    assert [len(responses) for responses in texts.values()] == [5, 5]
    assert len({text for responses in texts.values() for text in responses}) > 1
    assert texts == {name: responses for (of, name), responses in stored.items() if of == task}


def test_a_model_of_lm_evals_own_takes_a_task_and_what_no_judge_can_read_is_missing_not_0(
    outcomes: dict[str, Outcome],
) -> None:
    outcome = outcomes["a model of lm-eval's own"]
    assert list(outcome.texts("aiah-text-only").values()) == [["lol"] * 5] * 2
    assert not [name for name in outcome.results["aiah-text-only"] if name.startswith("asr")]


def test_the_sampling_that_is_recorded_is_the_one_that_was_used(
    outcomes: dict[str, Outcome],
) -> None:
    recorded = outcomes[BY_NAME].settings["aiah-audio-text"]["generation_kwargs"]
    assert recorded == {
        "until": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "max_gen_toks": 128,
        "seed": 0,
    }
    [first, *_] = outcomes[BY_NAME].samples["aiah-audio-text"]
    used = first["arguments"]["gen_args_0"]["arg_1"]
    assert {**used, "seed": 0} == recorded


def test_a_mistake_that_lm_eval_finds_ends_in_one_line(greaves: Any) -> None:
    status, _, err = greaves("lm-eval", "run", "--model", "greaves")
    assert status == 2
    assert "Traceback" not in err
    assert "No tasks specified" in err
    assert err.splitlines()[-1].startswith("greaves: lm-eval: ")


def test_generation_options_and_metadata_of_the_command_line_reach_the_model() -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    import greaves.answer.lm_eval  # noqa: F401 - makes the model known to lm-eval

    outcome = simple_evaluate(
        model="greaves",
        model_args={"model": "pocket"},
        tasks=["aiah-text-only"],
        gen_kwargs={"temperature": 0.0, "max_gen_toks": 3},
        limit=1,
        bootstrap_iters=0,
        task_manager=TaskManager(
            include_path=YAML_FOLDER, include_defaults=False, metadata={"samples": 3}
        ),
    )
    [sample] = outcome["samples"]["aiah-text-only"]
    responses = [text for [text] in sample["resps"]]
    assert len(responses) == 3
    assert len(set(responses)) == 1
    assert 0 < len(responses[0].split()) <= 3


def test_a_chat_task_reads_its_embedded_set_and_scores_a_reference_as_ten() -> None:
    from greaves.answer.lm_eval import GreavesTask

    task = GreavesTask({"task": "air-bench-chat"})
    task.build_all_requests(limit=2)
    assert [len(request.args) for request in task.instances] == [3, 3]  # text, options, clip
    doc = task.instances[0].doc
    assert task.process_results(doc, [doc["reference"]]) == {"hs": 10.0}


def test_lm_evals_own_text_models_answer_the_text_only_task(pocket: Any) -> None:
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from greaves.answer.lm_eval import GreavesTask

    config = Qwen2Config(
        vocab_size=len(pocket.tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        eos_token_id=pocket.tokenizer.eos_token_id,
    )
    model = HFLM(
        pretrained=Qwen2ForCausalLM(config),
        tokenizer=pocket.tokenizer,
        batch_size=4,
        max_length=256,
    )
    task = GreavesTask({"task": "aiah-text-only", "metadata": {"samples": 2, "max_new_tokens": 4}})
    tasks = {"tasks": {"aiah-text-only": task}, "groups": {}, "group_map": {}}
    results = evaluate(model, task_dict=tasks, limit=3, bootstrap_iters=0)
    assert results is not None
    samples = results["samples"]["aiah-text-only"]
    assert [len(sample["resps"]) for sample in samples] == [2, 2, 2]


def test_a_benchmark_whose_name_has_a_hyphen_finds_its_embedded_questions() -> None:
    from greaves.answer.lm_eval import GreavesTask

    task = GreavesTask({"task": "air-bench-chat"})
    assert {item.task for item in task.questions.values()} == {"air-bench-chat"}
