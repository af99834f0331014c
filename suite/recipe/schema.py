"""What a recipe file holds, field by field; see docs/recipes.md."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from greaves.align.composition import canonical
from greaves.align.stress.names import stressed_name
from greaves.align.training.spec import TrainingSpec
from greaves.answer.text_tasks import TextTaskSpec
from greaves.base.conversation import Sampling
from greaves.judge.judging import JudgeSpec

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
"""Names of recipes, models and methods: they become folders."""

MAX_NAME = 80


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Resources(_Strict):
    """What a model needs on a cluster; what is left out is found out (see `needs_of`).

    Attributes:
        gpus: GPUs that one of its cells asks for; a share such as 0.5 lets two cells share one.
        cpus: CPU cores.
        memory_gb: main memory, in GB.
        at_once: cells of this model that run at the same time, such as for a server with limits.
    """

    gpus: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cpus: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    memory_gb: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    at_once: int | None = Field(default=None, ge=1)


class ModelSpec(_Strict):
    """A model: its registered name, the name shown in tables, and what its loader takes.

    `resources` say what its cells ask of a cluster; they change no result, and enter no hash.
    """

    model: str
    name: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    resources: Resources | None = Field(None, exclude=True)

    @property
    def shown(self) -> str:
        """Name in tables; of `NAME:MODEL@URL` it is MODEL, without the folders before it."""
        if self.name or ":" not in self.model:
            return self.name or self.model
        address = self.model.partition(":")[2]
        return re.split(r"@(?=https?://)", address)[0].rstrip("/").rpartition("/")[2]


class MethodSpec(_Strict):
    """A method: its registered name, the name shown in tables, and its config.

    Several methods are joined by "+"; the config then has one field a method, named like it.
    `stress` holds stresses by name, each with its config; every one of them is a further cell.
    `models` limits it to some of the recipe's models, by their shown names; none means all.
    """

    method: str
    name: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    stress: dict[str, dict[str, Any]] = Field(default_factory=dict)
    models: tuple[str, ...] = ()

    @field_validator("method")
    @classmethod
    def _without_blanks(cls, value: str) -> str:
        return canonical(value)

    @field_validator("stress", mode="before")
    @classmethod
    def _short_stress(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            return {name: {} if config is None else config for name, config in value.items()}
        return value

    @property
    def shown(self) -> str:
        """Name in tables."""
        return self.name or self.method

    def stressed(self) -> list[MethodSpec]:
        """The method under each of its stresses, as cells have it."""
        names = {stress: stressed_name(self.shown, stress) for stress in self.stress}
        known = self.stress.items()
        return [MethodSpec(method=one, name=names[one], config=config) for one, config in known]


class BenchmarkSpec(_Strict):
    """Data, judge and sampling of one benchmark's tasks."""

    data: str
    judge: str | JudgeSpec
    samples: int = Field(5, ge=1)
    temperature: float = Field(1.0, ge=0, allow_inf_nan=False)
    top_p: float = Field(1.0, gt=0, le=1)
    max_new_tokens: int = Field(128, ge=1)
    sampling_seed: int = 0

    @property
    def judge_spec(self) -> JudgeSpec:
        """The judge with its options, however it is written."""
        return JudgeSpec(judge=self.judge) if isinstance(self.judge, str) else self.judge

    @property
    def sampling(self) -> Sampling:
        """As models take it."""
        return Sampling(
            self.samples, self.temperature, self.top_p, self.max_new_tokens, self.sampling_seed
        )


class Recipe(_Strict):
    """What a recipe file holds. See docs/recipes.md for every field."""

    name: str = Field(pattern=NAME, max_length=MAX_NAME)
    label: str = ""
    models: tuple[ModelSpec, ...] = Field(min_length=1)
    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field((0,), min_length=1)
    alignment_data: dict[str, str] = Field(default_factory=dict)
    training: TrainingSpec = TrainingSpec()
    benchmarks: dict[str, BenchmarkSpec] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    text_tasks: tuple[TextTaskSpec, ...] = ()
    batch_size: int = Field(16, ge=1)

    @field_validator("models", "methods", "text_tasks", mode="before")
    @classmethod
    def _from_names(cls, value: Any, info: ValidationInfo) -> Any:
        key = {"models": "model", "methods": "method", "text_tasks": "task"}[str(info.field_name)]
        if not isinstance(value, list):
            return value
        return [{key: item} if isinstance(item, str) else item for item in value]

    @field_validator("training", mode="before")
    @classmethod
    def _short_training(cls, value: Any) -> Any:
        return {"engine": value} if isinstance(value, str) else value
