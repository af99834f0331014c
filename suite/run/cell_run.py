"""The cells of a run: align -> respond -> judge, each on its own, each by one writer at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from greaves.align.training.processes import rank, told_by_first
from greaves.answer.answering import Answered, answer, write_questions
from greaves.answer.asking import Sample, Speaker, samples_of
from greaves.base.errors import DataError, GreavesError, RecipeError, RegistryError, StoreError
from greaves.base.lock import Check, cell_lock
from greaves.base.progress import Steps
from greaves.base.records import Question
from greaves.base.run_folder import CellFolder, RunFolder
from greaves.data.task import Task
from greaves.judge.contract import Judge
from greaves.judge.judging import judge_responses, make_judge, note_judge
from greaves.models.out_of_memory import out_of_memory
from greaves.recipe.plan import Cell, Plan
from greaves.run.cell_state import CellSteps, Failure, Reporter, write_failure
from greaves.run.defences import Defences
from greaves.run.loaded import Materials

if TYPE_CHECKING:
    from greaves.answer.lm_eval.text_tasks import TextTask


Questions = Mapping[type[Task], tuple[Question, ...]]

STOPS = (RecipeError, DataError, RegistryError, StoreError)
"""Errors that would hit every cell, so the run stops; any other fails its own cell only."""


class CellsFailedError(GreavesError):
    """Some cells failed; all others were finished.

    Args:
        failed: cell -> why.
        cells: how many cells there were.
        folder: the run folder.
    """

    def __init__(self, failed: Mapping[str, Failure], cells: int, folder: str | Path) -> None:
        self.failed = dict(failed)
        which = ", ".join(failed)
        do = f"see why: greaves status {folder}; run again to try them again"
        if len(failed) == 1:
            [why] = failed.values()
            which += f": {GreavesError(why.what, where=why.where)}"
            do = why.do or "run again to try it again"
        super().__init__(f"{len(failed)} of {cells} cells failed: {which}", do=do)


def selected(plan: Plan, only: Sequence[str]) -> list[Cell]:
    """The cells that `only` leaves; names of tasks leave all."""
    models = {cell.model.shown for cell in plan.cells} & set(only)
    methods = {cell.method.shown for cell in plan.cells} & set(only)
    cells = [cell for cell in plan.cells if not models or cell.model.shown in models]
    return [cell for cell in cells if not methods or cell.method.shown in methods]


class CellRun:
    """One pass over the cells; models, alignment data and judges are loaded once each.

    Args:
        plan: a checked recipe.
        folder: the run folder, its run.json written.
        questions: task -> its questions.
        requests: cell -> hash of what it is asked to do.
        only: names of models, methods or tasks; others are left alone.
        steps: where progress is shown.
        note: writes down what a judge's identity stands for; by default, in the run folder.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        questions: Questions,
        requests: Mapping[str, str],
        only: Sequence[str],
        steps: Steps,
        note: Callable[[Judge], None] | None = None,
    ) -> None:
        self.plan, self.questions, self.requests, self.only = plan, questions, requests, only
        self.steps = CellSteps(steps)
        self.folder = RunFolder(folder)
        self.done = Answered()
        self.materials = Materials(plan, folder / "features")
        self.aligning = Defences(self.materials, self.folder, self.steps)
        self._note = note or (lambda judge: note_judge(self.folder, judge))
        self._judges: dict[str, Judge] = {}

    @cached_property
    def texts(self) -> list[TextTask]:
        """The recipe's text tasks, their documents read.

        Raises:
            DataError: the data set of one is not on this machine.
        """
        specs, folder = self.plan.recipe.text_tasks, self.plan.source.parent
        if not specs:
            return []
        from greaves.answer.lm_eval.text_tasks import load_text_task  # imports lm_eval: seconds

        return [load_text_task(spec, folder) for spec in specs]

    def align_together(self) -> None:
        """Make the defences that are missing, in all processes that an outer launcher started."""
        wanted = selected(self.plan, self.only)
        bases = [cell.base for cell in wanted if cell.base is not None]
        cells = [cell for cell in self.plan.cells if cell in wanted or cell in bases]
        missing: list[int] = []
        if rank() == 0:
            missing = [at for at, cell in enumerate(cells) if self.aligning.found(cell) is None]
        for index in told_by_first(missing):
            self.aligning.make(cells[index])
            self.materials.forget_model()  # ZeRO has taken its parameters apart

    def all_cells(self) -> Answered:
        """Answer every selected cell, then let the judges that are models read the responses.

        Judges by rule cost nothing and judge a cell as soon as it has answered.

        Raises:
            CellsFailedError: some cells failed; the others were finished.
        """
        cells = selected(self.plan, self.only)
        failed: dict[str, Failure] = {}
        self.has_model_judges()  # what is wrong with a judge shows before anything is asked
        for cell in cells:
            if cell.base is not None and (why := failed.get(str(cell.base))):
                failed[str(cell)] = why = because(cell.base, why)
                write_failure(self.place(cell).path, why)
                self.steps.say(f"{cell}: failed: {why.error}")
            else:
                self.attempt(cell, self.answer_and_judge, failed)
        self.materials.forget_model()  # a judge may need the memory
        for cell in cells:
            if str(cell) not in failed and self.has_model_judges():
                self.attempt(cell, self.judge_by_model, failed)
        if failed:
            raise CellsFailedError(failed, len(cells), self.folder.path)
        return self.done

    def attempt(
        self,
        cell: Cell,
        work: Callable[[Cell, Reporter, Check], None],
        failed: dict[str, Failure],
        wrote: Callable[[], None] = lambda: None,
    ) -> None:
        """Do a cell's work as its only writer; what goes wrong is noted in its folder.

        Args:
            cell: of the plan.
            work: `answer_and_judge`, `judge_by_model` or `align`.
            failed: the cell is put in if it fails.
            wrote: called after each report of progress.

        Raises:
            GreavesError: one of `STOPS`.
        """
        place = self.place(cell)
        with cell_lock(place.path) as check, self.steps.of(place.path, wrote) as report:
            try:
                work(cell, report, check)
            except STOPS as error:
                with suppress(StoreError):  # on a full disk the first error is the one to tell
                    report.stage("failed", Failure.of(error))
                raise
            except (GreavesError, MemoryError, RuntimeError) as error:
                no_memory = out_of_memory(error)
                if not no_memory and not isinstance(error, GreavesError):
                    raise
                failed[str(cell)] = why = Failure.of(MemoryError() if no_memory else error)
                report.stage("failed", why)
                self.steps.say(f"{cell}: failed: {why.error}")
                self.materials.forget_model()  # it may hold what the cell had run out of

    def has_model_judges(self) -> bool:
        """Whether any task's judge is not a rule."""
        return any(not self._judge_of(task).by_rule for task in self.plan.tasks)

    def answer_and_judge(self, cell: Cell, report: Reporter, check: Check) -> None:
        """Align the cell, ask for the responses that it lacks, judge by rule."""
        self.align(cell, report, check)
        self.answer(cell, report, check)
        report.stage("judging")
        self._judge(cell, check, by_rule=True)
        report.stage("answered" if self.has_model_judges() else "done")

    def judge_by_model(self, cell: Cell, report: Reporter, check: Check) -> None:
        """Let the judges that are models read what is open."""
        report.stage("judging")
        self._judge(cell, check, by_rule=False)
        report.stage("done")

    def align(self, cell: Cell, report: Reporter, _check: Check) -> None:
        """Make the cell's defence, or find it."""
        report.stage("aligning")
        self.aligning.defence(cell)

    def answer(self, cell: Cell, report: Reporter, check: Check) -> None:
        """Ask for the responses that the cell lacks."""
        place = self.place(cell)
        model = self.materials.model(cell)
        data = self.materials.data(cell)
        defence = self.aligning.defence(cell)
        report.stage("answering")
        speaker = Speaker(model, cell.method.shown, cell.seed, defence.hash)
        samples: list[Sample] = []
        for task in self.plan.tasks:
            if task.mode in model.modes:
                sampling = self.plan.benchmark(task).sampling
                samples += samples_of(self.questions[task], sampling, speaker)
        write_questions(place, samples)
        place.write_facts(
            {
                "request": self.requests[str(cell)],
                "model": model.name,
                "revision": model.revision,
                "fingerprint": model.fingerprint,
                "method": cell.method.shown,
                "registered_method": cell.method.method,
                "config": cell.aligner.config.model_dump(mode="json"),
                "seed": cell.seed,
                "data": cell.aligner.requires.data or "",
                "data_hash": data.hash if data else "",
                "defence_hash": defence.hash,
                "defence_notes": defence.notes or {},
                **({"stresses": cell.base.method.shown} if cell.base else {}),
            }
        )
        self.done += answer(
            place,
            speaker,
            defence,
            [sample for sample in samples if self._wanted(sample.question.task)],
            batch_size=self.plan.recipe.batch_size,
            steps=self.steps,
            stage=f"{cell}: responses",
            may_write=check,
        )
        if self.texts:
            from greaves.answer.lm_eval.text_tasks import score_texts  # imports lm_eval: seconds

            self.done += score_texts(
                place,
                speaker,
                defence,
                self.texts,
                batch_size=self.plan.recipe.batch_size,
                steps=self.steps,
                stage=f"{cell}: text tasks",
                only=self._wanted,
                may_write=check,
            )

    def _judge(self, cell: Cell, check: Check, *, by_rule: bool) -> None:
        place = self.place(cell)
        tasks = [task for task in self.plan.tasks if self._judge_of(task).by_rule == by_rule]
        if not tasks:
            return
        responses, judged, unscored = place.current_responses(), 0, 0
        for task in tasks:
            judge = self._judge_of(task)
            done = judge_responses(
                place,
                judge,
                self.questions[task],
                responses=responses,
                progress=partial(self.steps.update, f"{cell}: {task.name} by {judge.name}"),
                may_write=check,
            )
            judged, unscored = judged + done.judged, unscored + done.unscored
        left = f", {unscored} left unscored" if unscored else ""
        self.steps.say(f"{cell}: {len(responses)} responses, {judged} judged{left}")

    def _wanted(self, task: str) -> bool:
        """Whether `only` leaves a task: it names that one, or no task at all."""
        texts = {spec.shown for spec in self.plan.recipe.text_tasks}
        named = ({one.name for one in self.plan.tasks} | texts).intersection(self.only)
        return not named or task in named

    def place(self, cell: Cell) -> CellFolder:
        """The cell's folder."""
        return self.folder.cell(*cell.names)

    def _judge_of(self, task: type[Task]) -> Judge:
        spec = self.plan.benchmark(task).judge_spec
        name = spec.model_dump_json()  # benchmarks may share one, and its weights
        if name not in self._judges:
            self._judges[name] = make_judge(spec)
            self._note(self._judges[name])
        return self._judges[name]


def because(base: Cell, why: Failure) -> Failure:
    """Why a stressed cell cannot be begun."""
    return Failure(what=f"its defence could not be made ({base}: {why.what})", do=why.do)
