"""The bridge to lm-eval: our tasks as its tasks, our models as its models, its text tasks for us.

This package is the only one that imports lm_eval; Greaves' own runs do so only for text tasks.

For users of lm-eval, `greaves` is a model and every Greaves task is a task:

    greaves lm-eval run --model greaves --model_args model=pocket --tasks aiah-text-only \\
        --include_path "$(greaves tasks --lm-eval-path)"
"""

from __future__ import annotations

import logging
import os
import sys

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from greaves.answer.lm_eval.model import GreavesLM
from greaves.answer.lm_eval.tasks import GreavesTask
from greaves.base.errors import GreavesError

__all__ = ["GreavesLM", "GreavesTask", "command_line"]

logging.getLogger("lm_eval").setLevel(logging.WARNING)
logging.getLogger("lm_eval.config.task").setLevel(logging.ERROR)  # "no generation_kwargs": untrue
logging.getLogger("lm_eval.api.task").setLevel(logging.ERROR)  # defaults that nobody chose wrongly


def command_line(arguments: list[str]) -> None:
    """Run lm-eval's own command line with these arguments; it knows `--model greaves`.

    Raises:
        GreavesError: lm-eval finds a mistake, such as an unknown task.
    """
    from lm_eval.__main__ import cli_evaluate

    loggers = [logging.getLogger(), logging.getLogger("lm_eval")]
    before = [(one.level, one.handlers[:], one.propagate) for one in loggers]
    sys.argv = ["lm_eval", *arguments]
    try:
        cli_evaluate()
    except ValueError as error:  # how lm-eval tells its users of an unknown task or model
        raise GreavesError(f"lm-eval: {error}") from error
    finally:  # take back what lm-eval and modules of its tasks do to logging for the whole process
        for one, (level, handlers, propagate) in zip(loggers, before, strict=True):
            one.setLevel(level)
            one.handlers[:] = handlers
            one.propagate = propagate
