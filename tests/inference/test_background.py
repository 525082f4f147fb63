"""Work on another thread."""

import pytest

from ifrvis.inference.background import in_background


def test_a_background_thread_keeps_order_and_hands_on_errors():
    assert list(in_background(lambda x: x * x, range(10))) == [x * x for x in range(10)]
    squares = in_background(lambda x: 1 // x, [1, 0, 1])
    assert next(squares) == 1
    with pytest.raises(ZeroDivisionError):
        next(squares)
