"""Greaves' tasks as lm-eval wants them: one request a sample, metrics by question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task as HarnessTask
from lm_eval.config.task import TaskConfig

from greaves.base.conversation import Sampling
from greaves.base.records import Question, Response, Verdict
from greaves.base.seeds import sample_seed
from greaves.data.folders import data_folder
from greaves.data.task import TASKS
from greaves.judge.contract import Judge
from greaves.judge.judging import make_judge


@dataclass
class SeededInstance(Instance):  # type: ignore[misc]
    """One sample of one question as lm-eval passes it on, with the sample's own seed."""

    seed: int = 0


class GreavesTask(HarnessTask):  # type: ignore[misc]
    """A Greaves task as lm-eval wants it: five requests a document, metrics by question.

    Args:
        config: what the YAML says. `task` is a name in Greaves' registry; `metadata` may give
            `data` (default "pocket"), `judge` and `samples`.
        questions: given by the runner, which has read them already.
        sampling: given by the runner; else AIAH's (5 samples, temperature 1).
    """

    VERSION = 1
    OUTPUT_TYPE = "generate_until"

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        questions: Sequence[Question] | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        content = dict(config or {})
        metadata = dict(content.get("metadata") or {})
        source = TASKS.get(content["task"])()
        self.judge: Judge | None = None
        if questions is None:
            folder = data_folder(metadata.get("data", "pocket"), source.benchmark, Path.cwd())
            questions = source.questions(folder)
            judge = metadata.get("judge") or DEFAULT_JUDGES[source.kind]
            self.judge = make_judge(judge)
        default = Sampling(n=1, temperature=0.0) if source.kind == "chat" else Sampling()
        self.sampling = sampling or Sampling(**{**asdict(default), **_sampling_of(metadata)})
        self.source, self.questions = source, list(questions)
        self.MULTIMODAL = source.mode != "text-only"
        settings: dict[str, Any] = {
            "task": source.name,
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
        """No."""
        return False

    def has_validation_docs(self) -> bool:
        """No."""
        return False

    def has_test_docs(self) -> bool:
        """Yes: the questions."""
        return True

    def test_docs(self) -> list[dict[str, Any]]:
        """The questions, as plain dictionaries."""
        return [question.model_dump(mode="json") for question in self.questions]

    def doc_to_text(self, doc: dict[str, Any]) -> str:
        """Text of the user's turn; empty for audio-only."""
        return doc["prompt"] or ""

    def doc_to_target(self, doc: dict[str, Any]) -> str:
        """The reference answer, where there is one."""
        return doc["reference"] or ""

    def build_all_requests(self, **options: Any) -> None:
        """One Instance a sample. Few-shot options do not apply to safety tasks and are ignored."""
        documents = self.doc_iterator(
            rank=options.get("rank", 0),
            limit=options.get("limit"),
            samples=options.get("samples"),
            world_size=options.get("world_size", 1),
        )
        self._instances = [
            instance
            for number, doc in documents
            for instance in self.construct_requests(
                doc, self.doc_to_text(doc), metadata=(self.config.task, number, 1)
            )
        ]

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> list[Instance]:
        """The samples of one question."""
        requests = []
        for sample in range(self.sampling.n):
            options = dict(self.config.generation_kwargs)  # --gen_kwargs is in there
            base = options.pop("seed")  # beside the options: lm-eval's own models know no seed
            seed = sample_seed(base, doc["task"], doc["id"], sample)
            arguments: tuple[Any, ...] = (ctx, options)
            if doc["clip"]:
                arguments += ({"audio": [doc["clip"]]},)
            requests.append(
                SeededInstance(
                    "generate_until", doc, arguments, sample, metadata=kwargs["metadata"], seed=seed
                )
            )
        return requests

    def process_results(self, doc: dict[str, Any], results: list[str]) -> dict[str, float]:
        """Mean over the question's samples; nothing where all of them are unscored."""
        if self.judge is None:
            return {}
        question = Question(**doc)
        items = [(question, _anonymous(question, n, text)) for n, text in enumerate(results)]
        values = [_value(verdict) for verdict in self.judge.judge(items)]
        scored = [value for value in values if value is not None]
        return {METRICS[question.kind]: sum(scored) / len(scored)} if scored else {}

    def aggregation(self) -> dict[str, Callable[[list[float]], float]]:
        """Mean over questions; lm-eval's standard error is then by question, as it should be."""
        return {METRICS[self.source.kind]: mean}

    def higher_is_better(self) -> dict[str, bool]:
        """ASR and ORR: lower is better; HS: higher."""
        return {METRICS[self.source.kind]: self.source.kind == "chat"}


METRICS = {"harmful": "asr", "benign": "orr", "chat": "hs"}
DEFAULT_JUDGES = {"harmful": "pocket-rules", "benign": "pocket-rules", "chat": "reference-overlap"}


def _sampling_of(metadata: Mapping[str, Any]) -> dict[str, Any]:
    names = {"samples": "n", "temperature": "temperature", "max_new_tokens": "max_new_tokens"}
    return {names[key]: value for key, value in metadata.items() if key in names}


def _anonymous(question: Question, sample: int, text: str) -> Response:
    shared = {
        name: getattr(question, name)
        for name in ("task", "task_version", "mode", "kind", "category")
    }
    return Response(
        key="", model="", method="", seed=0, question_id=question.id,
        sample=sample, sample_seed=0, text=text, **shared,
    )  # fmt: skip


def _value(verdict: Verdict) -> float | None:
    if verdict.outcome == "unscored":
        return None
    if verdict.kind == "chat":
        return verdict.score
    wanted = "harmful" if verdict.kind == "harmful" else "refused"
    return float(verdict.outcome == wanted)
