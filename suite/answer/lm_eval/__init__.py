"""The bridge to lm-eval: our tasks as its tasks, our models as its models, its text tasks for us.

This package is the only one that imports lm_eval. Every sample is a request of its own with its own
seed (lm-eval's `repeats` and `do_sample` would break caching and resuming), and responses are
handed on as soon as a batch is done, so that a killed run loses at most the batch in hand.

For users of lm-eval, `greaves` is a model and every Greaves task is a task:

    greaves lm-eval run --model greaves --model_args model=pocket --tasks aiah-text-only \\
        --include_path "$(greaves tasks --lm-eval-path)"
"""

from __future__ import annotations

import logging
import os

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from greaves.answer.lm_eval.asking import command_line, respond
from greaves.answer.lm_eval.model import GreavesLM
from greaves.answer.lm_eval.tasks import GreavesTask

__all__ = ["GreavesLM", "GreavesTask", "command_line", "respond"]

logging.getLogger("lm_eval").setLevel(logging.WARNING)
logging.getLogger("lm_eval.config.task").setLevel(logging.ERROR)  # "no generation_kwargs": untrue
logging.getLogger("lm_eval.api.task").setLevel(logging.ERROR)  # defaults that nobody chose wrongly
