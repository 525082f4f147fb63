"""What `compare` says in words of two sides; `tests/commands/test_compare.py` has the command."""

import pytest
from made_records import made_record, made_train

from ifrvis.analysis import comparison
from ifrvis.analysis.comparison import Evaluated, Side, compare


def side(name, values):
    records = [made_record({"AP": each}, train=made_train(seed)) for seed, each in enumerate(values)]
    return Side(name, [Evaluated(each, None, {}, "split", each.seed) for each in records])


@pytest.mark.parametrize("over_videos", [None, (-0.02, 0.01), (0.01, 0.02)])
@pytest.mark.parametrize(
    ("a", "over_seeds"), [([0.42, 0.422, 0.421], "beyond"), ([0.5, 0.3, 0.45], "within"), ([0.42], "unknown")]
)
def test_a_side_is_higher_where_neither_other_videos_nor_other_seeds_could_turn_it(
    a, over_seeds, over_videos, monkeypatch
):
    made = comparison._metric
    ends = {} if over_videos is None else {"AP": over_videos}
    monkeypatch.setattr(comparison, "_metric", lambda name, values, seeds, _: made(name, values, seeds, ends))
    ours, theirs = side("ours", a), side("theirs", [0.4 + 0.001 * seed for seed in range(len(a))])
    said = " ".join(compare(ours, theirs)["said"])
    noises = ["videos"] * (over_videos == (-0.02, 0.01)) + ["seeds"] * (over_seeds == "within")
    known = over_videos is not None or over_seeds != "unknown"
    assert ("A is higher" in said) == (known and not noises)
    assert (f"no difference beyond the draw of {' and '.join(noises)} (" in said) == bool(noises)
    assert ("One seed of each" in said) == (over_seeds == "unknown")
