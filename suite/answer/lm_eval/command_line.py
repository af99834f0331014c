"""lm-eval's own command line, with `--model greaves` known to it."""

from __future__ import annotations

import logging
import sys

import greaves.answer.lm_eval.model  # noqa: F401 - registers the model
from greaves.base.errors import GreavesError


def command_line(arguments: list[str]) -> None:
    """Run `lm_eval` with these arguments.

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
