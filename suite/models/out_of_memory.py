"""Running out of memory: what counts as it, and going on with smaller batches."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from greaves.base.errors import ModelError

T = TypeVar("T")

_ALLOCATORS = (
    "out of memory",  # CUDA, where it is not a torch.OutOfMemoryError
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't allocate memory",  # torch's allocator on the CPU
    "not enough memory",
    "bad_alloc",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that there was not enough memory, on a GPU or on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _ALLOCATORS)


def free_memory() -> None:
    """Give back what a failed pass has left behind; call it outside the `except`, whose
    traceback holds on to tensors."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class BatchSize:
    """A batch size that halves where the memory is not enough, and stays so.

    Args:
        size: at first.
        say: takes one line a halving.
    """

    def __init__(self, size: int, say: Callable[[str], None] = lambda line: None) -> None:
        self.size, self._say = size, say

    def run(self, work: Callable[[int], T], where: str = "") -> T:
        """What `work` returns when given a batch size that fits.

        Results do not depend on the batch size, so work that is begun anew gives the same.

        Args:
            work: takes the batch size.
            where: what is to be named if nothing fits.

        Raises:
            ModelError: there is not enough memory for a batch of one.
        """
        while True:
            try:
                return work(self.size)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
            free_memory()
            if self.size == 1:
                do = "ask for fewer samples or new tokens, or take a device with more memory"
                raise ModelError("out of memory with a batch of one", where=where, do=do)
            self.size //= 2
            self._say(f"out of memory: the batch size is {self.size} from here on")
