"""The bridge to lm-eval: our tasks as its tasks, our models as its models, its text tasks for us.

This package is the only one that imports lm_eval; Greaves' own runs do so only for text tasks.

For users of lm-eval, `greaves` is a model and every Greaves task is a task:

    greaves lm-eval run --model greaves --model_args model=pocket --tasks aiah-text-only \\
        --include_path "$(greaves tasks --lm-eval-path)"
"""

from __future__ import annotations

import logging
import os

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from greaves.answer.lm_eval.command_line import command_line
from greaves.answer.lm_eval.model import GreavesLM
from greaves.answer.lm_eval.tasks import GreavesTask

__all__ = ["GreavesLM", "GreavesTask", "command_line"]

logging.getLogger("lm_eval").setLevel(logging.WARNING)
logging.getLogger("lm_eval.config.task").setLevel(logging.ERROR)  # "no generation_kwargs": untrue
logging.getLogger("lm_eval.api.task").setLevel(logging.ERROR)  # defaults that nobody chose wrongly
