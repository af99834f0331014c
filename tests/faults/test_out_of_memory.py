"""Memory that runs out: smaller batches and the same results, or the cell's failure by name."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from made_faults import RRS, Write, by_key, run_recipe, started

from greaves.base.errors import ModelError
from greaves.models.contract import MODELS, register_model
from greaves.models.out_of_memory import BatchSize


def narrow(rows: int = 10**9, megabytes: int = 0) -> Any:
    """The pocket LALM in a small memory.

    Args:
        rows: a pass of more rows does not fit, as CUDA says it.
        megabytes: that each row of a pass takes from the memory of this process.
    """
    from greaves.models.families.pocket_lalm import pocket

    model = pocket()

    def work(_layer: Any, inputs: tuple[torch.Tensor], options: dict[str, Any]) -> None:
        packed = options.get("packed_rows")  # in training, rows are laid end to end
        count = len(packed.lengths) if packed else len(inputs[0])
        if count > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        torch.empty(count * megabytes << 20, dtype=torch.uint8)

    model.network.get_decoder().layers[0].register_forward_pre_hook(work, with_kwargs=True)
    return model


@pytest.fixture
def narrow_model() -> Iterator[None]:
    register_model("narrow")(narrow)
    yield
    MODELS._entries.pop("narrow")


def named(**options: Any) -> dict[str, Any]:
    return {"model": "narrow", "name": "pocket", "options": options}


def test_the_batch_size_halves_and_the_cell_goes_on_with_unchanged_results(
    greaves: Any, write_recipe: Write, narrow_model: None, tmp_path: Path
) -> None:
    """Two samples a question: four rows are two questions."""
    assert greaves("run", write_recipe(batch_size=8), "--run-dir", tmp_path / "wide")[0] == 0
    recipe = write_recipe(models=[named(rows=4)], batch_size=8)
    status, _, err = greaves("run", recipe, "--run-dir", tmp_path / "narrow")
    assert status == 0, err
    said = [line for line in err.splitlines() if "out of memory" in line]
    name = "pocket / vanilla / seed 0: responses: out of memory: the batch size is {} from here on"
    assert said == [name.format(4), name.format(2)]
    assert by_key(tmp_path / "narrow") == by_key(tmp_path / "wide")


def test_not_even_one_fits_and_the_cell_fails_by_name_while_others_go_on(
    greaves: Any, write_recipe: Write, narrow_model: None, tmp_path: Path
) -> None:
    models = [{**named(rows=1), "name": "tight"}, "pocket"]
    recipe = write_recipe(models=models, tasks=["aiah-text-only"])
    status, _, err = greaves("run", recipe, "--run-dir", tmp_path / "run")
    assert status == 2
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert "1 of 2 cells failed: tight / vanilla / seed 0: aiah-text-only, question " in last
    assert "out of memory with a batch of one; ask for fewer samples" in last
    (answered,) = (tmp_path / "run").rglob("responses.jsonl")
    assert "tight" not in str(answered)


def _in_a_small_memory(recipe: Path, folder: Path) -> None:
    register_model("narrow")(narrow)
    from greaves.models.families.pocket_lalm import pocket

    pocket()  # what stays in memory is there before the limit is set
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + (2500 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    run_recipe(recipe, folder)


def test_the_system_refuses_memory_for_real_and_results_are_unchanged(
    greaves: Any, write_recipe: Write, tmp_path: Path
) -> None:
    only = {"tasks": ["aiah-text-only"], "batch_size": 8}
    assert greaves("run", write_recipe(**only), "--run-dir", tmp_path / "wide")[0] == 0
    recipe = write_recipe(models=[named(megabytes=350)], **only)  # six rows fit, eight do not
    child = started(tmp_path / "log", _in_a_small_memory, recipe, tmp_path / "small")
    child.join(120)
    said = (tmp_path / "log").read_text()
    assert child.exitcode == 0, said
    assert "out of memory: the batch size is 4 from here on" in said
    assert by_key(tmp_path / "small") == by_key(tmp_path / "wide")


def test_memory_that_runs_out_in_training_is_told_with_what_to_set(
    greaves: Any,
    write_recipe: Write,
    narrow_model: None,
    alignment_folders: dict[str, Path],
    tmp_path: Path,
) -> None:
    def recipe(**training: Any) -> Path:
        return write_recipe(
            models=[named(rows=4)],
            methods=[{"method": "sft-full", "config": RRS}],
            alignment_data={"basic": str(alignment_folders["basic"])},
            tasks=["aiah-text-only"],
            training=training,
        )

    status, _, err = greaves("run", recipe(), "--run-dir", tmp_path / "run")
    assert status == 2
    last = err.splitlines()[-1]
    assert "pocket / sft-full / seed 0: out of memory at step 1, with 8 examples a process" in last
    assert last.endswith("; set training.micro_batch to 4")
    status, _, err = greaves("run", recipe(micro_batch=4), "--run-dir", tmp_path / "run")
    assert status == 0, err


def test_log_likelihoods_are_unchanged_in_smaller_batches(pocket: Any) -> None:
    from lm_eval.api.instance import Instance

    from greaves.answer.lm_eval import GreavesLM

    texts = [("How do I frame the ticket?", f" Answer {number}.") for number in range(5)]
    asked = [Instance("loglikelihood", {}, pair, n) for n, pair in enumerate(texts)]

    def found(model: Any, said: list[str]) -> list[tuple[float, bool]]:
        lm = GreavesLM(model, batch_size=4, say=said.append)
        return lm.loglikelihood(asked)

    said: list[str] = []
    narrowly = found(narrow(rows=1), said)
    assert [round(score, 3) for score, _ in narrowly] == [
        round(score, 3) for score, _ in found(pocket, [])
    ]
    assert len(said) == 2


def test_a_classifier_reads_in_halves_and_gives_the_same_findings() -> None:
    from greaves.judge.classifier_models import Finding
    from greaves.judge.judges.classifier import Classifier

    class TwoAtATime:
        def read(self, pairs: list[tuple[str, str]]) -> list[tuple[Finding | None, str]]:
            if len(pairs) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return [("refused", text) for _, text in pairs]

    judge = Classifier("harmbench@nowhere")
    judge.__dict__["_reader"] = TwoAtATime()
    pairs = [("q", f"text {number}") for number in range(7)]
    assert judge._read_batch(pairs) == [("refused", text) for _, text in pairs]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    def work(size: int) -> int:
        if size > 1:
            raise error
        return size

    assert BatchSize(4).run(work) == 1

    def fail(size: int) -> int:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        BatchSize(4).run(fail)
    with pytest.raises(ModelError, match=r"^here: out of memory with a batch of one"):
        BatchSize(1).run(lambda size: work(size + 1), "here")
