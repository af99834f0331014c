"""DeepSpeed ZeRO, where a recipe asks for it: its configuration, and what it needs on a CPU."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch

from greaves.base.errors import TrainingError


def configuration(stage: int) -> dict[str, Any]:
    """DeepSpeed's configuration for one ZeRO stage; HF Trainer fills in what is "auto".

    There is no "optimizer" entry: DeepSpeed would compile one of its own. Trainer's AdamW it is.
    """
    return {
        "zero_optimization": {
            "stage": stage,
            "overlap_comm": torch.cuda.is_available(),
            "contiguous_gradients": True,
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "bf16": {"enabled": "auto"},
        "gradient_clipping": "auto",
        "gradient_accumulation_steps": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 10**9,
    }


def prepare() -> None:
    """Make DeepSpeed ready in this process, before Trainer imports it.

    Raises:
        TrainingError: it is not installed.
    """
    try:
        import deepspeed.ops
    except ImportError as error:
        raise TrainingError(
            f"training with ZeRO needs DeepSpeed ({error})",
            do="pip install 'greaves[zero]', or take `training: plain`",
        ) from None
    if not torch.cuda.is_available():
        # Its shared-memory operator would be compiled for minutes; gloo does the same work.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    # Accelerate finds DeepSpeed's accumulation other than its own default, and takes DeepSpeed's.
    logging.getLogger("accelerate.accelerator").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
