"""Records: immutable, verified, first writer wins."""

import json

import pytest

from ifrvis.errors import UserError
from ifrvis.harness.store.records import RECORD_SCHEMA, Records, publish_record, read_record


def made_record(**changes):
    record = {
        "name": "mask2former-r50-ytvis19-s0",
        "profile": "mini",
        "train_sig": "a" * 64,
        "eval_sig": "b" * 64,
        "seed": 0,
        "method": "mask2former",
        "backbone": "r50",
        "dataset": "mini19",
        "protocol": "heldout",
        "metrics": {"AP": 0.123456789012345678, "AR1": None},
        "files": {"predictions": "c" * 64},
        "spec": {"schema": 1},
        "provenance": {"code": None},
        "attempts": [{"reason": "complete"}],
    }
    return record | changes


def publish(folder, **changes):
    record = made_record(**changes)
    path = folder / f"{record['name']}-{record['train_sig'][:12]}-{record['eval_sig'][:12]}.json"
    publish_record(path, record)
    return path


def test_a_record_reads_back_at_full_precision(tmp_path):
    record = read_record(publish(tmp_path))
    assert record["metrics"] == {"AP": 0.123456789012345678, "AR1": None}
    assert record["schema"] == RECORD_SCHEMA


def test_the_first_writer_wins(tmp_path):
    path = publish(tmp_path)
    publish(tmp_path, metrics={"AP": 1.0})
    assert read_record(path)["metrics"]["AP"] == 0.123456789012345678


def test_any_changed_value_is_found(tmp_path):
    path = publish(tmp_path)
    record = json.loads(path.read_text())
    for key in [key for key in record if key not in ("digest", "schema")]:
        changed = record | {key: 7 if isinstance(record[key], int) else type(record[key])()}
        path.write_text(json.dumps(changed))
        with pytest.raises(UserError, match="changed after it was written"):
            read_record(path)


def test_a_newer_schema_is_refused(tmp_path):
    path = publish(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": RECORD_SCHEMA + 1}))
    with pytest.raises(UserError, match="Update ifrvis"):
        read_record(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": "1"}', '{"schema": 1, "digest": null}'])
def test_what_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"x\.json"):
        read_record(path)


def test_a_broken_record_does_not_count_and_says_why(tmp_path):
    path = publish(tmp_path)
    records = Records(tmp_path)
    assert records.find("a" * 64, "b" * 64) is not None
    assert records.find("a" * 64, "b" * 63 + "c") is None  # equal in the 12 digits of the name only
    path.write_text(path.read_text().replace("0.12345678901234568", "0.9"))
    broken = Records(tmp_path)
    assert broken.find("a" * 64, "b" * 64) is None
    assert "changed after it was written" in broken.problem("a" * 64, "b" * 64)


def test_every_changed_byte_of_a_record_is_found(tmp_path):
    path = publish(tmp_path, spec={"rate": 1e-05, "name": "\u00e9"})
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


@pytest.mark.parametrize("metrics", [{"AP": "0.3"}, {"AP": True}, {"AP": 10**400}])
def test_a_record_with_a_fitting_digest_still_shows_numbers_only(metrics, tmp_path):
    with pytest.raises(UserError, match="it is not a record"):
        read_record(publish(tmp_path, metrics=metrics))


def test_not_a_number_in_a_record_is_found(tmp_path):
    path = publish(tmp_path, attempts=[])
    path.write_text(path.read_text().replace('"attempts": []', '"attempts": [NaN]'))
    with pytest.raises(UserError, match="changed after it was written"):
        read_record(path)
