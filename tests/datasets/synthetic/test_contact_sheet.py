import cv2
import pytest

from ifrvis.datasets.synthetic.contact_sheet import contact_sheet
from ifrvis.datasets.synthetic.making import make_split
from ifrvis.errors import UserError


@pytest.fixture
def annotation(parameters_of, tmp_path):
    return make_split(parameters_of("smoke19"), "test", tmp_path)


def test_it_has_a_row_for_each_video(annotation, tmp_path):
    out = tmp_path / "sheet.png"
    contact_sheet([(annotation, tmp_path / "test" / "JPEGImages")] * 2, out, videos=3, frames=4)
    sheet = cv2.imread(str(out))
    assert sheet.shape[0] == 2 * 3 * round(128 * 64 / 96)
    assert sheet.shape[1] > 4 * 128


def test_a_missing_frame_is_named(annotation, tmp_path):
    with pytest.raises(UserError, match=r"Restore .*00000\.jpg"):
        contact_sheet([(annotation, tmp_path)], tmp_path / "sheet.png")
