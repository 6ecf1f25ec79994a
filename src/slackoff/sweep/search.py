"""A search with Optuna, by ask and tell, whose trials are cells with records.

The trials stand in a journal in the study's folder, which several drivers may use at once; what a trial found stands in
the record of its cell. Whatever is killed, the same command goes on: trials that have ended keep their number, those
of a driver that is gone are taken up, and a cell that is done is read and not trained.
"""

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from slackoff.cell.pruning import TrialPlace, make_pruner, measured, open_storage
from slackoff.config.validate import check_part
from slackoff.errors import SlackoffError, one_line
from slackoff.record.files import folder_name, read_lines
from slackoff.record.ledger import HeartbeatMonitor, Owner
from slackoff.record.search import Aim, SearchRecord, Trial
from slackoff.record.status import Status
from slackoff.sweep.backend import Resources
from slackoff.sweep.cost import show_dry_run
from slackoff.sweep.display import ENDED, Display, say
from slackoff.sweep.driver import Driver, report_failures
from slackoff.sweep.expand import Config, Expander
from slackoff.sweep.identity import Fingerprints
from slackoff.sweep.objective import Objective, objectives_of, pruning_rule
from slackoff.sweep.plan import (
    AUTO,
    FLOAT32,
    Cell,
    auto_here,
    check_cells,
    check_configs,
    check_hardware,
    plan,
    settle_precision,
    with_ranks,
)
from slackoff.sweep.planner_process import PlannerProcess
from slackoff.sweep.search_space import Space
from slackoff.sweep.study import draw_study

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

JOURNAL = "optuna.journal"
"""In the folder of the study: all trials, as Optuna keeps them."""

_SAMPLERS = {"tpe": "TPESampler", "random": "RandomSampler", "qmc": "QMCSampler", "nsgaii": "NSGAIISampler"}
"""None that keeps pickles in the journal, which may come from anybody, as Optuna's CMA-ES does."""
_STUDY = "search"  # the name in the journal
_OWNER, _CELL = "owner", "cell"


@dataclass(frozen=True)
class SearchSettings:
    """Arguments as of ``hydra_plugins.slackoff_sweeper.OptunaSweeper``."""

    trials: int
    sampler: str
    seed: int
    pruner: str


def run_search(
    base: Sequence[str],
    space: Space,
    settings: SearchSettings,
    expander: Expander,
    resources: Resources,
    planner: PlannerProcess,
    console: Console,
    dry_run: bool = False,
) -> int:
    """Search, or say what that would be: check the ends of the space, train trials, print and draw the best.

    Args:
        base: overrides that all trials have.
        space: what is searched over.
        settings: how.
        expander: gives the config of a trial.
        resources: where cells run.
        planner: where data is read and configs are checked.
        console: for progress and tables.
        dry_run: train and write nothing.

    Returns:
        The number of trials of this command whose cell failed.

    Raises:
        SlackoffError: a mistake found before training, or all is trained but the study cannot be drawn.
        KeyboardInterrupt: after the running cells were stopped.
    """
    jobs = [[*base, *space.overrides(params)] for params in space.corners()]
    configs = [expander(job) for job in jobs]
    check_part("study", configs[0]["study"])
    objectives = objectives_of(configs[0])
    if not objectives:
        raise SlackoffError("A search needs study.objective: add study.objective=MEASURE, such as psnr_rgb")
    if configs[0]["study"].get("manifest") or configs[0]["study"].get("measure"):
        raise SlackoffError("A search has its cells from its space: leave study.manifest and study.measure out")
    if settings.pruner != "none" and len(objectives) > 1:
        raise SlackoffError(
            "hydra.sweeper.pruner compares trials by one measure: give study.objective one, or no pruner"
        )
    check_configs(configs, [None] * len(configs), planner)
    fingerprints = Fingerprints(dry_run, planner)
    with console.status("Reading data and records"):
        configs = settle_precision(
            with_ranks(configs, resources.slots[0].ranks),
            fingerprints,
            lambda accelerator: planner(auto_here, accelerator) if resources.local else FLOAT32,
        )
        corners = plan(configs, jobs, (), fingerprints)
    words = ", ".join(f"{objective.direction} {objective.measure}" for objective in objectives)
    console.print(f"Search: {words}; {settings.trials} trials over {space}.", highlight=False, soft_wrap=True)
    if dry_run:
        console.print("What the ends of the space cost, each a cell:")
        show_dry_run(corners, list(dict.fromkeys(fingerprints.problems.values())), resources.slots, console)
        return 0
    check_cells(corners, planner)
    for warning in check_hardware(corners, resources.slots, planner) if resources.local else ():
        say(console, warning, "yellow")
    precision = configs[0]["trainer"]["precision"]

    def make_cell(number: int, params: dict[str, Any]) -> Cell:
        """The cell of a trial; its planner process is started again only for data that no end of the space has."""
        job = [*base, *space.overrides(params)]
        config = with_ranks([expander(job)], resources.slots[0].ranks)[0]
        if config["trainer"]["precision"] == AUTO:
            config = {**config, "trainer": {**config["trainer"], "precision": precision}}
        (cell,) = plan([config], [job], (), fingerprints)
        named = {key.rsplit(".", 1)[-1]: space.value(key, value) for key, value in params.items()}
        return replace(cell, axes={"trial": number, **named}, label=cell.label | named)

    planner.close()
    folder = _folder(corners, space, objectives)
    search = Search(folder, space, objectives, settings, make_cell)
    cells, statuses = search.run(resources, console)
    search.write()
    for line in search.best():
        say(console, line)
    undrawn = draw_study(_drawn(cells, words), statuses, console, folder=folder) if cells else None
    failed = report_failures(cells, statuses, resources, console) if cells else 0
    if undrawn and not failed:
        raise undrawn
    if undrawn:
        say(console, str(undrawn), "red")
    return failed


def _folder(corners: Sequence[Cell], space: Space, objectives: Sequence[Objective]) -> Path:
    """The study's, by what is searched: another space, objective, data or network is another search."""
    config = corners[0].config
    asked = json.dumps([[cell.id for cell in corners], str(space), objectives])
    digest = hashlib.sha256(asked.encode()).hexdigest()[:6]
    return Path(config.runs) / "studies" / folder_name("search", config.study.name, config.size, digest=digest)


def _drawn(cells: Sequence[Cell], words: str) -> list[Cell]:
    """The cells as the study lists them: against the number of their trial; the parameters stand in ``search.json``."""
    study: Config = cells[0].content["study"]
    study = {**study, "name": "search", "axis": "trial", "claims": [], "title": f"Search: {words}"}
    return [
        replace(cell, content={**cell.content, "study": study}, axes={"trial": cell.axes["trial"]}) for cell in cells
    ]


class Search:
    """An Optuna study in a folder, and the cells of its trials.

    Args:
        folder: of the study; the journal lies in it.
        space: what is searched over.
        objectives: one or two.
        settings: how.
        make_cell: from number and parameters of a trial to its cell.

    Raises:
        SlackoffError: the folder cannot be written, or its journal is damaged.
    """

    def __init__(
        self,
        folder: Path,
        space: Space,
        objectives: Sequence[Objective],
        settings: SearchSettings,
        make_cell: Callable[[int, dict[str, Any]], Cell],
    ) -> None:
        import optuna

        self.folder, self.space, self.objectives, self.settings = folder, space, objectives, settings
        self.make_cell = make_cell
        self.troubles: list[str] = []
        self.open: dict[int, Cell] = {}
        """Trials that this driver has asked for or taken up, and their cells."""
        self.cells: dict[str, Cell] = {}
        self.monitor = HeartbeatMonitor()
        with self._usable():
            folder.mkdir(parents=True, exist_ok=True)
            self.lock = FileLock(folder / f"{JOURNAL}.driver.lock")
            self.storage = open_storage(folder / JOURNAL)
            self.study = optuna.create_study(
                study_name=_STUDY,
                storage=self.storage,
                directions=[objective.direction for objective in objectives],
                pruner=make_pruner(settings.pruner),
                load_if_exists=True,
            )
            self.failed_before = [trial for trial in self.trials() if trial.state.name == "FAIL"]

    def run(self, resources: Resources, console: Console) -> tuple[list[Cell], list[Status]]:
        """Train trials until there are enough, and return the cells of the search with their statuses.

        Raises:
            KeyboardInterrupt: after the running cells were stopped.
        """
        statuses: dict[str, Status] = {}
        self.monitor = HeartbeatMonitor(resources.policy.stale_after_s)
        with Display(console) as display:
            _TrialDriver(self, resources, statuses, self.monitor, display).run()
        for trial in self.trials():  # those of earlier commands and of other drivers, too
            with suppress(SlackoffError):
                cell = self.make_cell(trial.number, trial.params)
                self.cells.setdefault(cell.id, cell)
        cells = sorted(self.cells.values(), key=lambda cell: cell.axes["trial"])
        return cells, [cell.status(self.monitor) for cell in cells]

    def trials(self) -> "list[FrozenTrial]":
        """The trials with parameters of this space, without those whose failure was tried again since."""
        trials = [each for each in self.study.get_trials(deepcopy=False) if self.space.holds(each.params)]
        last = {_key(trial): trial.number for trial in trials}
        return [each for each in trials if each.state.name != "FAIL" or each.number == last[_key(each)]]

    def ask(self) -> tuple[int, Cell] | None:
        """A trial that a driver left, one that failed in an earlier command, or a new one; None for none.

        One whose parameters make no config together counts as failed, with a sentence in ``troubles``.
        """
        while (found := self._next()) is not None:
            number, params = found
            try:
                return number, self._opened(number, params)
            except (SlackoffError, HydraException, OmegaConfBaseException) as error:
                self._end(number, "FAIL")
                self.troubles.append(f"trial {number} ({' '.join(self.space.overrides(params))}): {one_line(error)}")
        return None

    def _next(self) -> tuple[int, dict[str, Any]] | None:
        with self._usable(), self.lock:
            trials = self.trials()
            if (orphan := next((each for each in trials if self._is_orphan(each)), None)) is not None:
                self._own(orphan._trial_id)
                return orphan.number, orphan.params
            last = {_key(each): each.number for each in trials}
            again = [each for each in self.failed_before if last[_key(each)] == each.number]  # no other driver has
            self.failed_before = again[1:]
            if again:
                self.study.enqueue_trial(again[0].params)
            elif len(trials) >= self.settings.trials:
                return None
            self.study.sampler = self._sampler(len(self.study.get_trials(deepcopy=False)))
            trial = self.study.ask(self.space.distributions)
            self._own(trial._trial_id)
            return trial.number, trial.params

    def tell(self, number: int, cell: Cell, state: str) -> str | None:
        """Tell Optuna how the cell of a trial ended; a sentence where it has no value."""
        from optuna.exceptions import UpdateFinishedTrialError

        asked = [objective.final(cell.folder) for objective in self.objectives] if state == "done" else []
        values = [value for value in asked if value is not None and not math.isnan(value)]
        with self._usable():
            identity = self.storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
            with suppress(UpdateFinishedTrialError):  # another driver has told it
                if len(self.objectives) == 1:
                    known = self.storage.get_trial(identity).intermediate_values
                    for step, value in measured(read_lines(cell.folder / "steps.jsonl"), self.objectives[0].measure):
                        if step not in known:
                            self.storage.set_trial_intermediate_value(identity, step, value)
                self.storage.set_trial_user_attr(identity, _CELL, cell.id)
            if len(values) == len(self.objectives):
                self.study.tell(number, values, skip_if_finished=True)
                return None
            self._end(number, "PRUNED" if state == "pruned" else "FAIL")
        if state != "done":
            return None
        return f"trial {number}: cell {cell.id} has no {self.objectives[0].measure}, it counts as failed"

    def _end(self, number: int, state: str) -> None:
        from optuna.trial import TrialState

        self.study.tell(number, state=TrialState[state], skip_if_finished=True)

    def best(self) -> list[str]:
        """The best trial, or those that no other is better than in both measures, a sentence each."""
        done = any(trial.state.name == "COMPLETE" for trial in self.trials())
        found = [trial for trial in self.study.best_trials if self.space.holds(trial.params)] if done else []
        lines = []
        for trial in found[:1] if len(self.objectives) == 1 else found:
            named = zip(self.objectives, trial.values, strict=True)
            values = ", ".join(f"{objective.measure} {value:.4g}" for objective, value in named)
            asked = " ".join(self.space.overrides(trial.params))
            lines.append(f"Best: trial {trial.number}, cell {trial.user_attrs.get(_CELL)}: {values} with {asked}")
        return lines or ["No trial is done: nothing is the best."]

    def write(self) -> None:
        """Write ``search.json``, from which the report is drawn without Optuna.

        Raises:
            SlackoffError: it cannot be written.
        """
        aims = [Aim(objective.measure, objective.direction) for objective in self.objectives]
        trials = [self._told(trial) for trial in self.trials()]
        with self._usable():
            SearchRecord(aims, list(self.space.distributions), self._importance(), trials).write(self.folder)

    def _told(self, trial: "FrozenTrial") -> Trial:
        state: Any = trial.state.name.lower()
        params = {key: self.space.value(key, value) for key, value in trial.params.items()}
        values = trial.values if state in ("complete", "pruned") else None
        return Trial(trial.number, state, trial.user_attrs.get(_CELL), params, values)

    def _importance(self) -> dict[str, float]:
        """The share of each key in what the first objective varies by, where enough trials are done to tell."""
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        try:
            warnings.filterwarnings("error", message="The number of trials is too small")
            found = get_param_importances(
                self.study,
                evaluator=PedAnovaImportanceEvaluator(),
                target=(lambda trial: trial.values[0]) if len(self.objectives) > 1 else None,
            )
        except (ValueError, RuntimeError, UserWarning):  # too few trials
            return {}
        return {key: value for key, value in found.items() if math.isfinite(value)}

    def _opened(self, number: int, params: dict[str, Any]) -> Cell:
        cell = self.make_cell(number, params)
        place = None
        if self.settings.pruner != "none":
            place = TrialPlace(str((self.folder / JOURNAL).absolute()), _STUDY, number, self.settings.pruner)
        cell = replace(cell, pruning=pruning_rule(cell.content, place))
        self.open[number] = cell
        self.cells.setdefault(cell.id, cell)
        return cell

    def _own(self, identity: int) -> None:
        self.storage.set_trial_user_attr(identity, _OWNER, asdict(Owner.this()))

    def _is_orphan(self, trial: "FrozenTrial") -> bool:
        """Whether a trial runs whose driver is gone: on another machine one whose cell nobody claims for a while."""
        if trial.state.name != "RUNNING" or trial.number in self.open:
            return False
        try:
            owner = Owner(**trial.user_attrs.get(_OWNER, {}))
        except TypeError:  # killed before it could say so
            return True
        if owner.is_local():
            return owner != Owner.this() and not owner.is_alive()
        since = (datetime.now() - trial.datetime_start).total_seconds() if trial.datetime_start else math.inf
        if since < self.monitor.stale_after_s:
            return False
        with suppress(OSError, SlackoffError):
            return self.monitor.holder(self.make_cell(trial.number, trial.params).folder) is None
        return False

    def _sampler(self, number: int) -> "optuna.samplers.BaseSampler":
        """What proposes trial ``number``: made anew, so that a command that goes on draws as one that was never killed.

        The sequence of ``qmc`` has one seed for all, and its place stands in the journal.
        """
        import optuna

        drawn = int.from_bytes(hashlib.sha256(f"{self.settings.seed} {number}".encode()).digest()[:4], "big")
        options = {
            "tpe": {"seed": drawn, "constant_liar": True},  # trials that run are taken for bad ones
            "qmc": {"seed": self.settings.seed, "scramble": True},
        }
        kind = getattr(optuna.samplers, _SAMPLERS[self.settings.sampler])
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        made: optuna.samplers.BaseSampler = kind(**options.get(self.settings.sampler, {"seed": drawn}))
        return made

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Say in one sentence that the journal cannot be used."""
        try:
            yield
        except OSError as error:
            raise SlackoffError(
                f"{self.folder / JOURNAL} cannot be used ({error.strerror or error}): make the folder writable or free "
                "space, then run the same command again; trials that have ended are not trained again"
            ) from error
        except (ValueError, KeyError, AssertionError) as error:
            raise SlackoffError(
                f"{self.folder / JOURNAL} is damaged ({type(error).__name__}: {one_line(error)}): move it away and run "
                "the same command again; cells that are done are read from the record"
            ) from error


class _TrialDriver(Driver):
    """A driver that gets its cells from a search, one for each free slot."""

    def __init__(
        self,
        search: Search,
        resources: Resources,
        statuses: dict[str, Status],
        monitor: HeartbeatMonitor,
        display: Display,
    ) -> None:
        super().__init__([], resources, statuses, monitor, display)
        self.search = search
        self.exhausted = False

    def _finished(self) -> bool:
        return super()._finished() and bool(self.obeyed or (self.exhausted and not self.search.open))

    def _fill(self) -> None:
        self._settle()
        while not self.signals and self._busy() < len(self.resources.slots):
            asked = self.search.ask()
            while self.search.troubles:
                self.display.say(self.search.troubles.pop(0), "red")
            if asked is None:
                break
            number, cell = asked
            status = cell.status(self.monitor)
            if status.state in ("done", "pruned"):
                self.display.say(f"trial {number}: cell {cell.id} is {status.state} already, and read from the record")
            if cell.id not in self.statuses or status.state in ENDED:
                self.statuses[cell.id] = status
            if status.state not in ("done", "pruned") and not self._has(cell.id):
                self.waiting.append(cell)
            self._settle()
        self.exhausted = not self.signals and self._busy() == 0
        super()._fill()

    def _busy(self) -> int:
        return len(self.waiting) + len(self.running) + len(self.elsewhere)

    def _has(self, identity: str) -> bool:
        names = [cell.id for cell in self.waiting] + [process.cell.id for process in self.running]
        return identity in names or identity in self.elsewhere

    def _settle(self) -> None:
        """Tell the search of trials whose cells this driver has no more to do with."""
        for number, cell in list(self.search.open.items()):
            status = self.statuses.get(cell.id)
            if status is None or status.state not in ENDED or self._has(cell.id):
                continue
            del self.search.open[number]
            if missing := self.search.tell(number, cell, status.state):
                self.display.say(missing, "yellow")


def _key(trial: "FrozenTrial") -> str:
    return json.dumps(trial.params, sort_keys=True)
