"""Making a plan: rows to trainings and evaluations, each once, then a look at what exists."""

from functools import cache
from pathlib import Path

from ifrvis.datasets.catalog import WHOLE, Dataset, Role, Split, load_dataset
from ifrvis.errors import DataMissingError, UserError
from ifrvis.harness.plan.plan import Evaluation, Plan, PlannedRow, Request, Training
from ifrvis.harness.spec.compose import MixedIn, compose, compose_pretraining
from ifrvis.harness.spec.profiles import PRETRAINING
from ifrvis.harness.spec.recipes import trained_on
from ifrvis.harness.spec.request import Specified
from ifrvis.harness.spec.signatures import eval_signature, train_signature, train_spec, work_of
from ifrvis.harness.spec.tables import Row, Table
from ifrvis.harness.spec.weights import named_weights, shipped_weights
from ifrvis.harness.store.attempts import latest
from ifrvis.harness.store.records import Record
from ifrvis.harness.store.recovery import why_blocked
from ifrvis.harness.store.states import PlanState

WAITS_FOR_SERVER = "{name}: give a server what `ifrvis submission` writes of it, then `ifrvis ingest` its scores"


def make_plan(request: Request, *, whole: bool = True) -> Plan:
    """Plan every row and seed that is asked for, and look up what exists; UserError if a row, an override or a dataset
    is wrong. Without `whole` records are not there to be used: only their seals are looked at (`read_seal`).
    """
    builder = _Builder(request)
    rows = [builder.planned(table, row) for table in request.tables for row in request.selected(table) if row.is_run]
    if not rows:
        raise UserError("Choose rows that are run: all that --rows names are quoted or external.")
    plan = Plan(request, rows, builder.all_trainings())
    _look_up(plan, whole)
    return plan


class _Builder:
    """Collects trainings and evaluations, each once."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.trainings: dict[tuple[str, str], Training] = {}  # by what they are, and how they are called
        self._mixed: dict[tuple[str, str, MixedIn], str] = {}  # fingerprints of videos with stills
        self._pretrainings: dict[tuple[str, str], Training] = {}  # by method and backbone
        self._dataset = cache(lambda name: load_dataset(name, request.data_root))
        # By source of the dataset: two files may give theirs one name.
        self._split = cache(lambda source, role, part=WHOLE: self._dataset(source).split(role, part))
        self._plain_work = cache(self._work_of_plain)
        self._named_weights = cache(lambda name: named_weights(name, request.data_root))

    def _work_of_plain(self, backbone: str, schedule: str) -> float:
        """Of Mask2Former as the profile sets it, which the profile's hours are of."""
        plain = compose("mask2former", backbone, schedule, self.request.profile, num_classes=1)
        return work_of(train_spec(plain, data=None, init=None, seed=0))

    def all_trainings(self) -> list[Training]:
        """Every training, a pretraining before those that start from it."""
        for training in self.trainings.values():
            if training.after is not None:
                training.after.rows += training.rows
        return [*self._pretrainings.values(), *self.trainings.values()]

    def planned(self, table: Table, row: Row) -> PlannedRow:
        """One row with its evaluations, one a seed."""
        specified = self.request.specify(row, self._dataset)
        planned = PlannedRow(table, row, specified.off_spec)
        for seed in self.request.seeds(table):
            training = self._training(specified, seed, "full" if table.protocol == "server" else "train")
            training.rows.append(f"{table.name}/{row.id}")
            planned.evaluations[seed] = self._evaluation(training, table, specified)
        return planned

    def _training(self, specified: Specified, seed: int, role: Role) -> Training:
        row, composed, dataset = specified.row, specified.composed, specified.dataset
        split = self._split(dataset.source, role)
        after, init_path, init, missing = self._start(row, composed.train["init"])
        stills = MixedIn.of(composed.train["stills"])
        data, missing_data = self._data(split, dataset, stills)
        spec = train_spec(composed, data=data, init=init, seed=seed)
        known = data is not None and not missing
        sig, name = train_signature(spec), specified.run_name(seed)
        hours = self.request.profile.est_hours.get(row.backbone)
        if hours is not None:
            hours *= work_of(spec) / self._plain_work(row.backbone, trained_on(row.dataset)[1])
        training = Training(name, row.method, row.backbone, dataset, split, spec, sig if known else None, hours)
        training.init_path, training.init_name, training.after = init_path, specified.init, after
        training.stills = stills
        training.missing = missing_data + missing
        return self.trainings.setdefault((sig, name), training)

    def _data(self, split: Split, dataset: Dataset, stills: MixedIn | None) -> tuple[str | None, list[str]]:
        """Fingerprint of all that is trained on, and what to do about what is not there."""
        missing = [split.missing] if split.fingerprint is None else []
        if stills is None:
            return split.fingerprint, missing
        from ifrvis.datasets.coco import load_stills  # numpy, which most plans do without

        found = load_stills(stills.dataset, dataset)
        if missing or found.missing:
            return None, missing + [found.missing] * bool(found.missing)
        key = (dataset.source, split.role, stills)
        try:
            if key not in self._mixed:
                self._mixed[key] = found.joint_fingerprint(split.fingerprint or "", stills.ratio)
        except DataMissingError as error:  # an image
            return None, [str(error)]
        return self._mixed[key], []

    def _start(self, row: Row, named: str | None) -> tuple[Training | None, Path | None, str | None, list[str]]:
        """What a training starts from: a pretraining or a file, its identity, and what to do if it is not there."""
        if given := self.request.init:
            absent = f"Check the path that --init gives: {given.path} does not exist."
            return None, given.path, given.sha256, [absent] * (given.sha256 is None)
        if named == PRETRAINING:
            after = self._pretraining(row)
            return after, None, after.sig, after.missing
        if named is None:
            return None, None, None, []
        path, digest, missing = self._named_weights(named)
        return None, path, digest, [missing] * bool(missing)

    def _pretraining(self, row: Row) -> Training:
        """The profile's pretraining of one method and backbone, shared by all rows that start from it."""
        request, declared = self.request, self.request.profile.pretraining
        if declared is None:
            raise UserError(f"Add 'pretraining' to profile {request.profile.name!r}: its recipes start from one.")
        (method, called), backbone = declared.behind(row.method), row.backbone
        if (method, backbone) not in self._pretrainings:
            dataset = self._dataset(declared.dataset)
            num_classes = dataset.config.categories
            composed = compose_pretraining(declared, method, backbone, request.profile, num_classes=num_classes)
            split = self._split(dataset.source, "pretrain")
            spec = train_spec(composed, data=split.fingerprint, init=None, seed=0)
            name = f"{called}-{backbone}-{dataset.name}"
            hours = declared.est_hours.get(backbone)
            if hours is not None:
                plain = compose_pretraining(declared, "mask2former", backbone, request.profile, num_classes=num_classes)
                hours *= work_of(spec) / work_of(train_spec(plain, data=None, init=None, seed=0))
            sig = None if split.fingerprint is None else train_signature(spec)
            training = Training(name, called, backbone, dataset, split, spec, sig, hours)
            training.shipped = None if request.no_shipped_weights else shipped_weights(train_signature(spec))
            if not training.shipped:  # nobody predicts with weights that are here
                dev = self._split(dataset.source, "dev")
                training.missing += [each.missing for each in (split, dev) if each.fingerprint is None]
                evaluation = Evaluation(training, composed.inference, dev, "heldout", None)
                if sig is not None and dev.fingerprint is not None:
                    evaluation.sig = eval_signature(sig, composed.inference, dev.fingerprint)
                training.evaluations.append(evaluation)
            self._pretrainings[method, backbone] = training
        return self._pretrainings[method, backbone]

    def _evaluation(self, training: Training, table: Table, specified: Specified) -> Evaluation:
        row, inference = specified.row, specified.composed.inference
        server = table.protocol == "server"
        split = self._split(training.dataset.source, "server" if server else "heldout", row.part)
        known = training.sig is not None and split.fingerprint is not None
        scored_on = "server" if server else split.fingerprint or ""  # `ingest` publishes scores under this identity
        sig = eval_signature(training.sig or "", inference, scored_on) if known else None
        training.missing += [split.missing] * (split.fingerprint is None)
        new = Evaluation(training, inference, split, table.protocol, sig, off_spec=specified.off_spec)
        wanted = (inference, table.protocol, split)
        alike = (each for each in training.evaluations if (each.inference, each.protocol, each.split) == wanted)
        if (evaluation := next(alike, new)) is new:
            training.evaluations.append(new)
        evaluation.rows.append(f"{table.name}/{row.id}")
        evaluation.off_spec &= specified.off_spec
        return evaluation


def _look_up(plan: Plan, whole: bool) -> None:
    """Fill in the states from records and attempts, with one listing of each folder."""
    folders, needed = set(plan.request.store.run_folders()), set[int]()
    for training in plan.trainings:
        training.rows = list(dict.fromkeys(training.rows))
        for evaluation in training.evaluations:
            _look_up_record(evaluation, plan, whole)
        if training.after is not None and any(each.state == "not run" for each in training.evaluations):
            needed.add(id(training.after))
    for training in plan.trainings:
        unfinished = [evaluation for evaluation in training.evaluations if evaluation.state == "not run"]
        lacking = id(training) in needed and not training.has_weights(plan.request.store)
        if training.shipped or not (unfinished or lacking):
            missing = any(each.state == "data missing" for each in training.evaluations)
            training.state = "data missing" if missing and not training.shipped else "complete"
            continue
        training.state = _unfinished_state(training, plan.request, folders)
        if lacking and not unfinished and training.state not in ("running", "failed"):
            training.problem = f"{training.name} is trained again: its weights are not here, and rows start from them"
        for evaluation in unfinished:
            evaluation.state = training.state


def _look_up_record(evaluation: Evaluation, plan: Plan, whole: bool) -> None:
    training = evaluation.training
    if evaluation.sig is None or training.sig is None:
        evaluation.state = "data missing"
        return
    found = plan.records.find(training.name, training.sig, evaluation.sig, whole=whole)
    if not isinstance(found, str):
        evaluation.record, evaluation.state = found if isinstance(found, Record) else None, "complete"
        return
    evaluation.problem = found
    run, split = training.run(plan.request.store), evaluation.split.fingerprint
    if evaluation.protocol == "server" and split and run.predictions(evaluation.inference, split).is_file():
        # All that is left is what a server has to say.
        evaluation.state, evaluation.problem = "pending", WAITS_FOR_SERVER.format(name=training.name)


def _unfinished_state(training: Training, request: Request, folders: set[Path]) -> PlanState:
    """The state of a training some of whose records are not there."""
    assert training.sig is not None
    if training.after is not None and training.after.state == "failed":
        training.waits_for = f"{training.after.name}, which it starts from, failed"
        return "failed"
    run = training.run(request.store)
    if run.folder in folders:
        training.attempt, training.waits_for = latest(run), why_blocked(run)
        match training.attempt and training.attempt.state():
            case "pending" | "running" as alive:
                return alive
            case "killed" | "stopped" | "failed":  # it goes on with the same command, unless it waits for a person
                return "failed" if training.waits_for else "pending"
    return "pending" if training.split.makeable else "not run"
