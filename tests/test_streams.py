"""Random draws: a stream for each use."""

from ifrvis.streams import Stream, generator


def test_no_two_uses_share_a_stream():
    assert len(Stream) == len(Stream.__members__), "an enumeration makes an alias of a number that comes twice"


def test_the_order_of_stills_is_no_drop_path():
    """Both had number 4: an epoch's order of stills came from the draws of drop path 0 at position 0."""
    order, drops = generator(Stream.STILL_EPOCH, 0, 7), generator(Stream.DROP_PATH, 0, 7, 0, 0)
    assert order.random() != drops.random()
