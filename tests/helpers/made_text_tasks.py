"""Three text tasks over a local data set, one of each kind of request, and two that group them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import yaml

TEXT = "how do I paint a fence open the door to my house carefully step by step please"
MEAN = {"aggregation": "mean", "higher_is_better": True}

TASKS: dict[str, dict[str, Any]] = {
    "made_choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "doc_to_choice": ["one", "two words", "three"],
        "num_fewshot": 2,
        "metric_list": [{"metric": "acc", **MEAN}, {"metric": "acc_norm", **MEAN}],
    },
    "made_rolling": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{question}}",
        "metric_list": [
            {"metric": "word_perplexity"},
            {"metric": "bits_per_byte"},
        ],
    },
    "made_generation": {
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["f", "\n\n"], "max_gen_toks": 12, "do_sample": False},
        "metric_list": [{"metric": "exact_match", **MEAN}],
    },
}


def made_text_tasks(folder: Path, documents: int = 10) -> Path:
    """Write the tasks and their data.

    `made_group` is the first and another multiple-choice task of fewer documents.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _documents(folder / "docs.jsonl", documents)
    _documents(folder / "few.jsonl", 3)
    for name, fields in TASKS.items():
        _task(folder, name, "docs.jsonl", fields)
    _task(folder, "made_few", "few.jsonl", TASKS["made_choice"])
    group = {"group": "made_group", "task": ["made_choice", "made_few"]}
    (folder / "group.yaml").write_text(yaml.safe_dump(group))
    return folder


def _documents(path: Path, count: int) -> None:
    draw = random.Random(count)
    rows = [
        {
            "question": " ".join(draw.choices(TEXT.split(), k=draw.randint(3, 30))) + "?",
            "answer": n % 3,
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _task(folder: Path, name: str, data: str, fields: dict[str, Any]) -> None:
    files = {"test": str(folder / data), "train": str(folder / data)}
    content = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "training_split": "train",
        "fewshot_split": "train",
        **fields,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
