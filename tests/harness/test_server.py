"""Protocol `server`: trained on all that is annotated, predicted here, scored elsewhere and ingested."""

import dataclasses
import gzip
import json

import pytest
from made_records import record_of

from ifrvis.harness.jobs.queue import submission
from ifrvis.harness.plan.planner import make_plan
from ifrvis.harness.store.records import publish_record


@pytest.fixture
def request_of_server(make_request):
    request = make_request(num_seeds=1)
    return dataclasses.replace(request, tables=(request.tables[0].model_copy(update={"protocol": "server"}),))


def test_a_run_is_asked_for_predictions_and_complete_once_its_scores_are_ingested(request_of_server):
    plan = make_plan(request_of_server)
    (training,), (evaluation,) = plan.trainings, plan.evaluations
    (asked,) = submission(training, request_of_server).evaluations
    assert (asked.protocol, asked.role) == ("server", "server")
    assert plan.to_run == [training]

    run = training.run(request_of_server.store)
    path = run.predictions(evaluation.inference, evaluation.split.fingerprint)
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(json.dumps({}).encode()))
    predicted = make_plan(request_of_server)
    assert predicted.to_run == []
    assert predicted.rows[0].state == "pending"
    assert "`ifrvis ingest`" in predicted.evaluations[0].problem

    assert publish_record(request_of_server.store, record_of(training, evaluation))
    assert make_plan(request_of_server).rows[0].state == "complete"


def test_nothing_is_held_out_of_the_training_split(make_request, monkeypatch, real_vis):
    monkeypatch.setenv("IFRVIS_TEST_DATA", str(real_vis.parent))
    request = make_request(num_seeds=1, dataset="real_vis")
    dataset = make_plan(request).trainings[0].dataset
    full, train, heldout = (dataset.split(role).read().videos for role in ("full", "train", "heldout"))
    assert {video.id for video in full} == {video.id for video in (*train, *heldout)}
    assert dataset.split("full").fingerprint != dataset.split("train").fingerprint
