"""Reports of packed tables with records made up."""

from made_records import PROVENANCE

from ifrvis.harness.spec.profiles import load_profile
from ifrvis.harness.spec.request import TableRequest
from ifrvis.harness.spec.tables import load_table, rows_elsewhere
from ifrvis.harness.store.records import Data, Life, Record
from ifrvis.reporting.report import Report, RowRecords


def record(row, seed, metrics, profile, protocol):
    """A record as reports read it; that its signatures follow from its content is the store's matter."""
    dataset = row.dataset if profile == "paper" else row.dataset.replace("ytvis", profile)
    return Record.model_construct(
        **{"digest": f"{seed:064x}", "name": f"{row.id}-s{seed}", "profile": profile, "dataset": dataset},
        **{"train_sig": f"{seed:064x}", "eval_sig": f"{seed + 256:064x}", "seed": seed, "method": row.method},
        **{"backbone": row.backbone, "protocol": protocol, "metrics": metrics, "provenance": PROVENANCE},
        data=Data(train="a" * 64, evaluation="b" * 64),
        attempts=(Life(reason="complete", kind="", seconds=720.0),),
        peak_memory_bytes=3 << 30,
    )


def made_report(name, values, *, seeds=(0, 1), profile="mini", request=None, scored="heldout", **changes):
    """A report of some rows of a packed table: `values[row id][seed]` is one value for every metric, or a dict."""
    table = load_table(name).model_copy(update=changes)

    def records_of(row, of_row):
        found = {}
        for seed, given in sorted(of_row.items()):
            metrics = given if isinstance(given, dict) else dict.fromkeys(table.metrics, given)
            if seed in seeds:
                found[seed] = [record(row, seed, metrics, profile, scored)]
        elsewhere = [each for (each,) in found.values()] if scored != table.protocol else ()
        return RowRecords(row, {} if elsewhere else found, elsewhere, bool(request))

    rows = tuple(records_of(row, values[row.id]) for row in table.rows if row.id in values)
    others = {each: records_of(row, values.get(each, {})) for each, (_, row) in rows_elsewhere(table).items()}
    request = TableRequest((table,), load_profile(profile), tuple(values), len(seeds), **(request or {}))
    return Report(request, table, rows, others)
