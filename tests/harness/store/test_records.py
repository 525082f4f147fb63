"""Records: immutable, in agreement with themselves, first writer wins, under no name but their own."""

import json
import shutil

import pytest
from made_records import made_record, made_train

from ifrvis.errors import UserError
from ifrvis.evaluation.videos import Videos, read_videos
from ifrvis.files import sha256_file
from ifrvis.harness.store.paths import Store
from ifrvis.harness.store.records import RECORD_SCHEMA, Cost, Records, Seal, digest_of, publish_record, read_record

AP = 0.123456789012345678


@pytest.fixture
def publish(tmp_path):
    """Publish a record: its path."""

    def write(metrics=None, videos=None, **changes):
        record, store = made_record({"AP": AP, "AR1": None} if metrics is None else metrics, **changes), Store(tmp_path)
        publish_record(store, record, videos)
        return store.records("mini") / record.file_name

    return write


def forge(path, **changes):
    """Change fields (dotted ones of `spec` and `data`, too) and give the record a digest that fits."""
    content = json.loads(path.read_text())
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        node = content
        for part in parents:
            node = node[part]
        node[last] = value
    path.write_text(json.dumps(content | {"digest": digest_of(content)}))


def test_a_record_reads_back_at_full_precision(publish):
    record = read_record(publish())
    assert record.metrics == {"AP": AP, "AR1": None}
    assert record.spec.train == made_train()


def test_the_first_writer_wins(publish):
    path = publish()
    publish({"AP": 1.0})
    assert read_record(path).metrics["AP"] == AP


def test_what_its_videos_add_lies_beside_a_record_and_stays_its_own(publish):
    one, other = (
        Videos(categories=(name,), video_ids=(), detections=(), tracking=(), identity=()) for name in ("a", "b")
    )
    path = publish(videos=one)
    publish(videos=other)
    beside = path.with_suffix(".videos.json.gz")
    assert read_record(path).files == {"videos": sha256_file(beside)}
    assert read_videos(beside) == one
    assert Records(path.parent).all_readable() == [read_record(path)]


def test_costs_are_columns_where_they_are_known(publish):
    record = read_record(publish(cost=Cost(parameters=7, prediction_seconds=4.0, frames=10)))
    assert record.shown == record.metrics | {"Parameters": 7, "FPS": 2.5}
    assert made_record({"AP": 0.5}, cost=Cost(frames=10, prediction_seconds=0.0)).shown == {"AP": 0.5}


@pytest.mark.parametrize("schema", [0, 1, RECORD_SCHEMA - 1, RECORD_SCHEMA + 1])
def test_another_schema_is_refused(publish, schema):
    path = publish()
    forge(path, schema=schema)
    with pytest.raises(UserError, match=f"its schema is {schema}, known is {RECORD_SCHEMA}"):
        read_record(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": "3"}', '{"schema": 3, "digest": null}'])
def test_what_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"x\.json"):
        read_record(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"AP": 5.0}}, "AP"),
        ({"metrics": {"AP": -0.1}}, "AP"),
        ({"metrics": {"MOTA": 1.5}}, "MOTA"),
        ({"metrics": {"IDs": 2.5}}, "IDs"),
        ({"metrics": {"IDs": -1}}, "IDs"),
        ({"metrics": {"AP": "0.3"}}, "AP"),
        ({"metrics": {"AP": True}}, "AP"),
        ({"metrics": {"AP": 10**400}}, "AP"),
        ({"metrics": {"mAP": 0.5}}, "mAP"),
        ({"scoring": 999}, "a newer version scored it"),
        ({"scoring": 1}, "eval_sig is not that of"),
        ({"seed": 1}, "seed is not that of its spec"),
        ({"spec.train.seed": 1}, "does not match its signature"),
        ({"spec.train.iterations": 5}, "does not match its signature"),
        ({"spec.train.iterations": 0}, "greater than or equal to 1"),  # hours of others are measured by these
        ({"spec.train.pipeline": {"sides": "96"}}, "whole numbers above 0"),
        ({"spec.train.sampler": {"num_frames": 0}}, "whole numbers above 0"),
        ({"train_sig": "a" * 64}, "train_sig is not that of its spec"),
        ({"eval_sig": "b" * 64}, "eval_sig is not that of"),
        ({"inference": {"mode": "clips"}}, "eval_sig is not that of"),
        ({"inference": {}}, "no mode that can be a name"),  # by which its predictions are looked for
        ({"inference": {"mode": "../x"}}, "no mode that can be a name"),
        ({"data.evaluation": "c" * 64}, "eval_sig is not that of"),
        ({"data.train": "c" * 64}, "data.train is not that of its spec"),
        ({"method": "ours"}, "name is not that of its method and backbone"),
        ({"backbone": "r101"}, "name is not that of its method and backbone"),
        ({"protocol": "server"}, "protocol"),
        ({"role": "server"}, "role"),
        ({"origin": "external"}, "origin"),
        ({"profile": "../mini"}, "profile"),
        ({"name": "../mask2former-r50-ytvis19-s0"}, "name"),
        ({"started_from": "a" * 64}, "started_from is not that of its spec"),
        ({"loss": {str(number): 1.0 for number in range(61)}}, "loss"),
        ({"more": 1}, "more"),
    ],
)
def test_a_record_with_a_fitting_digest_that_does_not_agree_is_refused(publish, changes, message):
    path = publish()
    forge(path, **changes)
    with pytest.raises(UserError, match=message):
        read_record(path)


@pytest.mark.parametrize("whole", [True, False])
def test_a_broken_record_does_not_count_and_says_why(publish, whole):
    path = publish()
    record = read_record(path)
    identity, seal = (record.name, record.train_sig, record.eval_sig), Seal(record.train_sig, record.eval_sig)

    def found(*identity):
        return Records(path.parent).find(*identity, whole=whole)

    assert found(*identity) == (record if whole else seal)
    other = found(*identity[:2], record.eval_sig[:-1] + "x")  # equal in the digits of the name only
    assert "it is the record of another evaluation" in other
    forge(path, metrics={"AP": 5.0})
    assert ("'AP'" in found(*identity)) if whole else (found(*identity) == seal), "no number of it is shown"
    path.write_text(path.read_text().replace("5.0", "0.9"))
    assert "changed after it was written" in found(*identity)
    path.unlink()
    assert found(*identity) == ""


@pytest.mark.parametrize("name", ["Copy of {}", "a-{}", "zz-{}"])
@pytest.mark.parametrize("edited", [False, True])
def test_a_second_file_under_another_name_neither_wins_nor_counts(publish, name, edited):
    path = publish()
    record, copy = read_record(path), path.with_name(name.format(path.name))
    shutil.copy(path, copy)
    if edited:
        forge(copy, metrics={"AP": 0.9})
    records = Records(path.parent)
    assert records.find(record.name, record.train_sig, record.eval_sig) == record
    assert records.all_readable() == [record]
    with pytest.raises(UserError, match="no other name or place stands for it"):
        read_record(copy)


def test_every_changed_byte_of_a_record_is_found(publish):
    path = publish(initial_weights={"rate": 1e-05, "name": "\u00e9"})
    data, good, passed = path.read_bytes(), read_record(path), []
    for position in range(len(data)):
        changed = data[position] ^ 1 << position % 8
        path.write_bytes(data[:position] + bytes([changed]) + data[position + 1 :])
        try:
            assert read_record(path) == good
            passed.append(data[position])
        except UserError:
            pass
    assert set(passed) <= set(b" \ne9")  # white space and the case of letters in numbers and escapes say nothing


def test_not_a_number_in_a_record_is_found(publish):
    path = publish()
    path.write_text(path.read_text().replace(str(AP), "NaN"))
    with pytest.raises(UserError, match="changed after it was written"):
        read_record(path)
