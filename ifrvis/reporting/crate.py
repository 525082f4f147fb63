"""A folder for others, an RO-Crate: records with what lies beside them, the reports made of them, what was asked for,
the program that makes these again, and a checklist that the records fill.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import ifrvis
from ifrvis.datasets.catalog import load_config
from ifrvis.errors import UserError, nearest
from ifrvis.files import read_bytes, read_json, seen_in, sha256_file, write_atomically
from ifrvis.harness.spec.methods import COPIED, code_in, packages
from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.request import TableRequest
from ifrvis.harness.spec.tables import load_tables
from ifrvis.harness.store.finding import Finding, held_against
from ifrvis.harness.store.paths import Store, videos_beside
from ifrvis.harness.store.playback import read_scenes
from ifrvis.harness.store.records import Record, read_record
from ifrvis.packed import packed, packed_names, packed_yaml
from ifrvis.reporting.escape import markdown_text
from ifrvis.reporting.match import reports_in
from ifrvis.reporting.output import write_page, write_report
from ifrvis.reporting.over_videos import keep, read_kept
from ifrvis.reporting.report import Report

PAPER = "https://arxiv.org/abs/2206.07011"
TITLE = "Consistent Video Instance Segmentation with Inter-Frame Recurrent Attention: records and reports"
README = f"""# {TITLE}

`reports/` was made of `results/` by the program in `ifrvis/`, as `experiments/` asks. `CHECKLIST.md` says what was run,
`environment.json` with what and on what. After `python -m pip install -r requirements.txt`, these commands, in this
folder and offline, check all of it and write every table again, to the same bytes:

    python -m ifrvis verify
"""
DESCRIBED = "ro-crate-metadata.json"
Answer = tuple[bool | None, str, str]  # whether it is as one would wish (None: it is only told), the question, what is


def make_crate(
    folder: Path, source: Store, given: Sequence[str], *, predictions: bool, named: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Fill an empty folder with what is kept of profiles (`given`: names or YAML files), with `predictions` what their
    runs predicted, too; `describe` makes a crate of it. What is of a data set that others cannot have (none that is
    packed and is made or names a `source`), and what no table shows of off-spec runs, is taken only of the data sets
    `named`. In words, what was taken and what was left out.
    UserError if there is no record of a profile or of a data set named, a record or a scene is broken, or the program
    is not installed.
    """
    store, files, took, left = Store(folder / "results"), _program(), list[str](), Counter[str]()
    readme, checklist, environments = README, "# Checklist\n", dict[str, list[str]]()
    for path, profile in [(packed_yaml("profiles", each), load_profile(each)) for each in given]:
        own = Path("experiments", "profiles", f"{profile.name}.yaml")
        files[own], readme = path, f"{readme}    python -m ifrvis report all --profile {own}\n"
        known = [read_record(each) for each in seen_in(source.records(profile.name), ".json")]
        request = TableRequest(tuple(load_tables(["all"], profile)), profile)
        withheld = _withheld(known, source, request, named)
        left.update(withheld.values())
        records = [each for each in known if each.digest not in withheld]
        if not records:
            why = f"all of {source.root} are left out: {_each(left.elements())}" if known else f"none in {source.root}"
            raise UserError(f"Run rows of profile {profile.name} first, or name data sets: of its records, {why}.")
        for each in _kept(records, source, predictions=predictions):
            write_atomically(store.root / each.relative_to(source.root), read_bytes(each))
        num_videos, there = 0, {record.digest for record in records}
        for scene in read_scenes(source.scenes(profile.name)):
            if there.issuperset(scene.records):
                write_atomically(store.scenes(profile.name) / scene.file_name, scene.text())
                num_videos += len(scene.videos)
            else:
                left[f"scenes of {scene.dataset}, whose records are not here"] += 1
        intervals = read_kept(source.bootstrap(profile.name))
        if kept := [each for each in intervals if there.issuperset(chain(*each.records))]:
            keep(store, profile.name, kept, records)
        frames = f"frames of {num_videos} videos" if num_videos else "no frames of videos"
        took.append(f"profile {profile.name}: records of {_each(each.dataset for each in records)}; {frames}")
        reports = reports_in(store, request)
        for report in reports:
            write_report(report, folder / "reports" / profile.name)
        write_page(reports, read_scenes(store.scenes(profile.name)), folder / "reports" / profile.name)
        checklist += f"\n## Profile {profile.name}: {markdown_text(profile.title)}\n\n"
        for done, asked, so in (*_asked(reports, records), *_answered(records, store)):
            checklist += f"- {'' if done is None else '[x] ' if done else '[ ] '}{asked} {markdown_text(so)}.\n"
        for record in records:
            environments.setdefault(record.provenance.model_dump_json(), []).append(record.file_name)
    environment = [{**json.loads(provenance), "records": names} for provenance, names in environments.items()]
    texts = {"README.md": readme, "CHECKLIST.md": checklist, "requirements.txt": _requirements()}
    texts |= {"environment.json": json.dumps(environment, indent=1, sort_keys=True) + "\n"}
    texts |= {COPIED: json.dumps({each.name: each.version for each in packages()[1:]})}
    for name, content in (files | texts).items():
        write_atomically(folder / name, content if isinstance(content, str) else read_bytes(content))
    return took, [f"{what} ({number})" for what, number in left.items()]


def describe(folder: Path) -> None:
    """Write `DESCRIBED`: the hash of every file, and the program that made the reports of the records."""
    from rocrate.model import ContextEntity, SoftwareApplication
    from rocrate.rocrate import ROCrate

    crate = ROCrate(folder, init=True)
    crate.name = crate.description = TITLE
    crate.license = "https://spdx.org/licenses/Apache-2.0"
    paper = {"@type": "ScholarlyArticle", "name": TITLE.partition(": ")[0]}
    crate.root_dataset["citation"] = crate.add(ContextEntity(crate, PAPER, properties=paper))
    properties = {"name": "ifrvis", "softwareVersion": ifrvis.__version__}
    program = crate.add(SoftwareApplication(crate, "#ifrvis", properties=properties))
    asked = [crate.get("results/"), crate.get("experiments/")]
    crate.root_dataset["mentions"] = crate.add_action(program, "#report", object=asked, result=crate.get("reports/"))
    for each in crate.data_entities:
        if each.type == "File":
            each["sha256"] = sha256_file(Path(each.source))
    crate.metadata.write(folder)


def verify_described(folder: Path) -> Iterator[Finding]:
    """Hold a published folder, but its results and reports, which may grow, against the hashes of its description."""
    path = folder / DESCRIBED
    if not path.is_file():
        return
    try:
        digests = {unquote(each["@id"]): each["sha256"] for each in read_json(path)["@graph"] if "sha256" in each}
    except (UserError, LookupError, TypeError):
        yield Finding("wrong", path, "it is not as `ifrvis publish` wrote it")
        return
    for name, digest in sorted(digests.items()):
        if not name.startswith(("results/", "reports/")):
            found = held_against(folder / name, digest, other="it is not as it was published")
            missing = Finding("wrong", found.path, "it was published, and is not here")
            yield missing if found.outcome == "not kept" else found


def _program() -> dict[str | Path, str | Path]:
    """The files of the program, of packages that bring methods, and of what it is asked for, by their names here."""
    files: dict[str | Path, str | Path] = {name: packed(name) for name in ("LICENSE", "CITATION.cff")}
    for folder in (*(each.folder for each in packages()), packed("experiments")):
        files |= {name: path for name, path in code_in(folder).items() if "_packed" not in name.parts}
    return files


def _requirements() -> str:
    """What reading needs, as it is here."""
    try:
        needs = [re.split(r"[^\w.-]", each)[0] for each in requires("ifrvis") or () if "extra ==" not in each]
    except PackageNotFoundError as error:
        raise UserError("Install ifrvis (`pip install .`) to publish: what it needs is not known here.") from error
    return "".join(f"{name}=={version(name)}\n" for name in needs)


def _withheld(records: list[Record], source: Store, request: TableRequest, named: Sequence[str]) -> dict[str, str]:
    """Which records are not for others, by digest, and what they are; UserError if a data set named has no record."""
    packed_sets = {name: load_config(name)[0] for name in packed_names("experiments", "datasets")}
    others_have = {name for name, config in packed_sets.items() if config.synthetic or config.source}
    known = sorted({each.dataset for each in records})
    if absent := [each for each in named if each not in known]:
        came = f"profile {request.profile.name} has none of {absent[0]!r}{nearest(absent[0], known)}"
        raise UserError(f"Name data sets of the records, {', '.join(known)}: {came}.")
    of_others = [each for each in records if each.dataset not in named]
    withheld = {each.digest: f"records of {each.dataset}" for each in of_others if each.dataset not in others_have}
    if tried := [each for each in of_others if each.off_spec and each.digest not in withheld]:
        shown = {record.digest for report in reports_in(source, request) for record in report.behind}
        withheld |= {each.digest: f"off-spec records of {each.dataset}" for each in tried if each.digest not in shown}
    return withheld


def _kept(records: list[Record], source: Store, *, predictions: bool) -> list[Path]:
    """The files that are kept of records."""
    found = set[Path]()
    for each in records:
        run, given = source.run(each.name, each.train_sig), (each.inference, each.data.evaluation)
        found |= {each.path(source), videos_beside(each.path(source))}
        found |= {run.spec, run.predictions(*given), run.prediction_cost(*given)} if predictions else set()
    return [path for path in sorted(found) if path.is_file()]


def _each(values: Iterable[Any]) -> str:
    """Different values, each with how often it is there."""
    return "; ".join(f"{value} ({count})" for value, count in sorted(Counter(map(str, values)).items())) or "none"


def _asked(reports: list[Report], records: list[Record]) -> Iterator[Answer]:
    """What was asked for, and how much of it is here."""
    rows = [(report, each) for report in reports for each in report.rows if not each.row.quoted]
    there = [(report, each) for report, each in rows if not each.missing]
    whole = [(report, each) for report, each in there if len(each.counted) == len(report.seeds)]
    done, so = Counter(report.table.name for report, _ in whole), Counter(report.table.name for report, _ in rows)
    of_tables = ", ".join(f"{name} {done[name]} of {number}" for name, number in so.items())
    yield len(rows) == len(whole), "Every row of every table has every declared seed:", of_tables
    seeds = [(len(each.counted), len(report.seeds)) for report, each in there]
    yield None, "Rows by how many seeds they have:", _each(f"{found} of {declared} seeds" for found, declared in seeds)
    intervals = len({kept.digest for report in reports for kept in report.over_videos.values()})
    spread = f"mean and std over seeds, ddof 1; intervals over test videos of {intervals} differences"
    yield bool(seeds) and min(seeds)[0] > 1, "Every number has a spread:", spread
    shown = {record.digest for report in reports for record in report.behind}
    yield None, "Records that no table shows:", f"{sum(each.digest not in shown for each in records)} of {len(records)}"


def _answered(records: list[Record], store: Store) -> Iterator[Answer]:
    """What the records say of how they came about."""
    runs = [*{each.train_sig: each for each in records}.values()]
    specs, code = [each.spec.train for each in runs if each.spec], [each.provenance.code for each in records]
    yield None, "Trainings, by method and backbone:", _each(f"{each.method} {each.backbone}" for each in runs)
    yield None, "By seed, which decides every draw:", _each(f"seed {each.seed}" for each in runs)
    data = (f"{each.dataset} {each.role} {each.data.evaluation[:12]}" for each in records)
    yield None, "Records by what was predicted (`experiments/datasets/` says where it comes from):", _each(data)
    how = (f"{x.iterations} iterations of {x.global_batch} clips, {x.precision}, {x.optimizer}" for x in specs)
    yield len(specs) == len(runs), "Every hyperparameter is in `spec` of its records:", _each(how)
    start = (f"{each.init} {each.started_from}" if each.init else "random" for each in runs)
    yield None, "Initial weights:", _each(start)
    machines = (f"{x.processor}, {x.cores} cores" for x in (each.provenance.hardware for each in runs))
    yield None, "Machines:", f"{_each(machines)}; GPUs: {_each(name for each in runs for name in each.measured.gpus)}"
    most = max((each.peak_memory_bytes or 0 for each in runs), default=0) / 2**30
    yield None, "Cost of all attempts:", f"{sum(each.hours for each in runs):.2f} hours, at most {most:.2f} GiB"
    ends = (life.kind or life.reason.replace("running", "made the record") for each in runs for life in each.attempts)
    yield None, "How attempts ended:", _each(ends)
    commits = (f"{each.version}, {each.commit or 'no commit'}" + ", changed" * bool(each.uncommitted) for each in code)
    yield all(each.commit and not each.uncommitted for each in code), "Code was committed:", _each(commits)
    repeated = _each(each.determinism or "not known" for each in runs)
    yield all(each.determinism for each in runs), "Whether the same command gives the same bits is known:", repeated
    beside = [videos_beside(each.path(store)) for each in records]
    predicted = [each.predictions(store) for each in records]
    for what, paths in {"What each video adds": beside, "What was predicted": predicted}.items():
        here = sum(path.is_file() for path in paths)
        yield here == len(records), f"{what} is here:", f"of {here} of {len(records)} records"
    yield None, "Not here:", "trained weights (records have their digests), frames, annotations"
