"""Greaves' tasks as lm-eval wants them: one request per sample, metrics by question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task as HarnessTask
from lm_eval.config.task import TaskConfig

from greaves.answer.asking import Sample, samples_of
from greaves.base.conversation import Sampling
from greaves.base.records import Response
from greaves.data.folders import data_folder
from greaves.data.task import TASKS
from greaves.judge.judging import make_judge

METRICS = {"harmful": "asr", "benign": "orr", "chat": "hs"}
DEFAULT_JUDGES = {"harmful": "pocket-rules", "benign": "pocket-rules", "chat": "reference-overlap"}
SAMPLING = {"samples": "n", "temperature": "temperature", "max_new_tokens": "max_new_tokens"}
"""What `metadata` may say of the sampling -> the field of `Sampling`."""


@dataclass
class SampleRequest(Instance):  # type: ignore[misc]
    """One sample as lm-eval passes it on; the `greaves` model reads `sample` and nothing else."""

    sample: Sample | None = None


class GreavesTask(HarnessTask):  # type: ignore[misc]
    """A Greaves task as lm-eval wants it.

    Args:
        config: what the YAML says. `task` is a name in Greaves' registry; `metadata` may give
            `data` (default "pocket"), `judge`, `samples`, `temperature` and `max_new_tokens`.
    """

    VERSION = 1
    OUTPUT_TYPE = "generate_until"

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        content = dict(config or {})
        metadata = dict(content.get("metadata") or {})
        self.source = TASKS.get(content["task"])()
        kind = self.source.kind
        folder = data_folder(metadata.get("data", "pocket"), self.source.benchmark, Path.cwd())
        self.questions = {one.id: one for one in self.source.questions(folder)}
        self.judge = make_judge(metadata.get("judge") or DEFAULT_JUDGES[kind])
        default = Sampling(n=1, temperature=0.0) if kind == "chat" else Sampling()
        said = {SAMPLING[name]: value for name, value in metadata.items() if name in SAMPLING}
        self.sampling = Sampling(**{**asdict(default), **said})
        self.MULTIMODAL = self.source.mode != "text-only"
        settings: dict[str, Any] = {
            "task": self.source.name,
            "output_type": "generate_until",
            "num_fewshot": 0,
            "generation_kwargs": {
                "until": [],
                "temperature": self.sampling.temperature,
                "top_p": self.sampling.top_p,
                "max_gen_toks": self.sampling.max_new_tokens,
                "seed": self.sampling.seed,
            },
            "metadata": {"version": float(self.VERSION), **metadata},
        }
        super().__init__(config=settings)
        self._config = TaskConfig(**settings)  # the base class takes them all for the task's name

    def download(self, *_args: Any, **_kwargs: Any) -> None:
        """Nothing to download: the questions are read from a local folder."""

    def has_training_docs(self) -> bool:
        return False

    def has_validation_docs(self) -> bool:
        return False

    def has_test_docs(self) -> bool:
        return True

    def test_docs(self) -> list[dict[str, Any]]:
        return [question.model_dump(mode="json") for question in self.questions.values()]

    def doc_to_text(self, doc: dict[str, Any]) -> str:
        return doc["prompt"] or ""

    def doc_to_target(self, doc: dict[str, Any]) -> str:
        return doc["reference"] or ""

    def build_all_requests(self, **options: Any) -> None:
        """Build all requests. Few-shot options make no sense for safety tasks and are ignored."""
        documents = self.doc_iterator(
            rank=options.get("rank", 0),
            limit=options.get("limit"),
            samples=options.get("samples"),
            world_size=options.get("world_size", 1),
        )
        self._instances = []
        for number, doc in documents:
            place = (self.config.task, number, 1)
            self._instances += self.construct_requests(doc, self.doc_to_text(doc), metadata=place)

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> list[Instance]:
        """One request per sample of the question."""
        options = dict(self.config.generation_kwargs)  # --gen_kwargs is in there
        sampling = replace(
            self.sampling,
            temperature=options["temperature"],
            top_p=options["top_p"],
            max_new_tokens=options["max_gen_toks"],
            seed=options.pop("seed"),  # lm-eval's own models know none
        )
        clip: tuple[Any, ...] = ({"audio": [doc["clip"]]},) if doc["clip"] else ()
        kind, place = "generate_until", kwargs["metadata"]
        return [
            SampleRequest(
                kind, doc, (ctx, dict(options), *clip), one.number, metadata=place, sample=one
            )
            for one in samples_of([self.questions[doc["id"]]], sampling)
        ]

    def process_results(self, doc: dict[str, Any], results: list[str]) -> dict[str, float]:
        """Mean over the question's samples; nothing where all of them are unscored."""
        question = self.questions[doc["id"]]
        said = [Response.of(question, text, sample=n) for n, text in enumerate(results)]
        values = [verdict.value for verdict in self.judge.judge([(question, one) for one in said])]
        scored = [value for value in values if value is not None]
        return {METRICS[question.kind]: sum(scored) / len(scored)} if scored else {}

    def aggregation(self) -> dict[str, Callable[[list[float]], float]]:
        """Mean over questions; lm-eval's standard error is then by question, as it should be."""
        return {METRICS[self.source.kind]: mean}

    def higher_is_better(self) -> dict[str, bool]:
        """ASR and ORR: lower is better; HS: higher."""
        return {METRICS[self.source.kind]: self.source.kind == "chat"}
