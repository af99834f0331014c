"""How fine-tuning is carried out: engine, processes, micro-batches. None of it changes the method.

In a recipe it is one word, `training: zero-2`, or a mapping with any of the fields below.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Engine = Literal["plain", "zero-1", "zero-2", "zero-3"]


class TrainingSpec(BaseModel):
    """Where and how a training method computes.

    Attributes:
        engine: "plain" is HF Trainer alone (DistributedDataParallel where there are several
            processes); "zero-1", "zero-2" and "zero-3" are the stages of DeepSpeed ZeRO. RRS was
            published with ZeRO-2.
        processes: processes on this machine, one per GPU. None takes every GPU that is visible
            where the engine is a ZeRO stage, and one process otherwise. Under `torchrun`,
            `deepspeed` or `accelerate launch` the launcher decides.
        micro_batch: examples a process takes at a time; the rest of a method's `batch_size` is
            made up by processes and gradient accumulation (published: 4, on 2 GPUs, accumulated
            twice). None takes as many as the batch holds: no accumulation.
        precision: "bf16" computes under bfloat16 autocast; "auto" does so on a GPU only.
        keep_epochs: epochs whose adapters are kept beside the last one (Figure 2 of the RRS paper
            shows 1 and 3).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Engine = "plain"
    processes: int | None = Field(default=None, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    keep_epochs: tuple[Annotated[int, Field(ge=1)], ...] = ()

    @property
    def stage(self) -> int:
        """ZeRO stage; 0 for the plain engine."""
        return 0 if self.engine == "plain" else int(self.engine[-1])
