"""What studies plant in the code lies there still: they take hours, and are run seldom."""

import pytest

from studies.faults import FAULTS, MODELS, ROOT, planted


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_planted(fault):
    right = (ROOT / MODELS / f"{fault.module}.py").read_text()
    wrong = planted(fault, right)
    assert wrong != right
    compile(wrong, fault.module, "exec")
