"""What a recipe may say of a model's needs on a cluster. None of it changes a result."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Resources(BaseModel):
    """`resources:` of a model in a recipe; what is left out is found out (see `needs_of`).

    Attributes:
        gpus: GPUs that one of its cells asks for; a share such as 0.5 lets two cells share one.
        cpus: CPU cores.
        memory_gb: main memory, in GB.
        at_once: cells of this model that run at the same time, such as for a server with limits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpus: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cpus: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    memory_gb: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    at_once: int | None = Field(default=None, ge=1)
