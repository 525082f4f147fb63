"""A case of the oracle."""

import pytest

from ifrvis.datasets.ytvis import read_annotations
from ifrvis.evaluation.predictions import read_results


@pytest.fixture
def case(request):
    """Ground truth and results of one of the oracle's cases."""
    folder = request.path.parents[1] / "data/oracle/ap/07"
    annotations = read_annotations(folder / "gt.json")
    return annotations, read_results(folder / "pred.json", annotations)
