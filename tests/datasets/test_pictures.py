"""Every kind of picture becomes a frame, upright and never black; what is none is refused before it is decoded."""

import io
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from ifrvis.datasets.pictures import open_picture
from ifrvis.errors import DataMissingError, UserError

# Upright, 8 x 6 blocks: no two corners and no two sides are alike.
UPRIGHT = np.kron(np.random.default_rng(3).integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
STORED = {  # as a camera stores what is upright, by the tag that says so: row by row of Exif's table
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}


def saved(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("kind", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("tag", STORED)
def test_a_picture_is_upright_whatever_its_tag_and_format(tmp_path, kind, tag):
    exif = Image.Exif()
    exif[0x0112] = tag
    options = {"exif": exif} | {".webp": {"lossless": True}, ".jpg": {"quality": 95, "subsampling": 0}}.get(kind, {})
    picture = open_picture(saved(tmp_path / f"a{kind}", Image.fromarray(np.ascontiguousarray(STORED[tag])), **options))
    assert (picture.width, picture.height, picture.orientation) == (64, 48, tag)
    difference = np.abs(picture.frame()[..., ::-1].astype(int) - UPRIGHT)
    assert np.median(difference) < 5  # JPEG's blocks
    assert kind == ".jpg" or difference.max() == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_grey_palettes_alpha_and_inks_are_frames_as_pillow_sees_them(tmp_path, mode):
    image = Image.fromarray(UPRIGHT).convert(mode)
    picture = open_picture(saved(tmp_path / "a.tif" if mode == "CMYK" else tmp_path / "a.png", image))
    assert np.abs(picture.frame()[..., ::-1].astype(int) - np.asarray(image.convert("RGB"))).max() <= 1
    assert (picture.is_deep, picture.has_one_channel) == (False, mode in "1LP")


def test_a_jpeg_without_a_tag_has_the_pixels_it_always_had(tmp_path, rng):
    content = cv2.imencode(".jpg", cv2.GaussianBlur(rng.integers(0, 255, (40, 60, 3), np.uint8), (5, 5), 2))[1]
    (tmp_path / "a.jpg").write_bytes(content.tobytes())
    assert np.array_equal(open_picture(tmp_path / "a.jpg").frame(), cv2.imdecode(content, cv2.IMREAD_COLOR))


@pytest.mark.parametrize(
    ("kind", "colours", "scale", "offset", "dtype"),
    [
        (".png", True, 2, 0, "uint16"),
        (".png", False, 9, 32768, "uint16"),
        (".tif", True, 9, 32768, "uint16"),
        (".tif", False, 2, 0, "uint16"),
        (".tif", False, 1e-4, -3.0, "float32"),
    ],
)
def test_values_of_many_bits_are_stretched_and_never_black(tmp_path, kind, colours, scale, offset, dtype):
    given = (UPRIGHT if colours else UPRIGHT[..., 0]).astype(int)
    values = (given * scale + offset).astype(dtype)
    values[0, 0] = 60000  # a hot pixel darkens nothing
    cv2.imwrite(str(tmp_path / f"a{kind}"), values)
    picture = open_picture(tmp_path / f"a{kind}")
    assert (picture.is_deep, picture.has_one_channel) == (True, not colours)
    frame = picture.frame()
    assert (frame.shape, frame.dtype) == (UPRIGHT.shape, np.uint8)
    expected = np.clip((given - np.percentile(given, 1)) * 255 / np.ptp(np.percentile(given, (1, 99.8))), 0, 255)
    difference = np.abs(frame[1:] - (expected if colours else expected[..., None])[1:])
    assert difference.max() < 3


@pytest.mark.parametrize(("value", "expected"), [(700, 128), (0, 0)])
def test_one_value_everywhere_is_grey_unless_it_is_nothing(tmp_path, value, expected):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 5), value, np.uint16))
    assert (open_picture(tmp_path / "a.png").frame() == expected).all()


def test_numbers_of_masks_are_those_of_the_file(tmp_path):
    numbers = np.arange(48).reshape(6, 8)
    palette = Image.fromarray(numbers.astype(np.uint8)).convert("P")
    palette.putdata(numbers.ravel().tolist())
    for name, image in {
        "palette.png": palette,
        "grey.png": Image.fromarray(numbers.astype(np.uint8)),
        "deep.png": Image.fromarray((numbers * 1000).astype(np.uint16)),
        "equal.png": Image.fromarray(np.repeat(numbers.astype(np.uint8)[..., None], 3, 2)),
    }.items():
        found = open_picture(saved(tmp_path / name, image)).numbers()
        assert np.array_equal(found, numbers * (1000 if name == "deep.png" else 1)), name
    with pytest.raises(UserError, match=r"^Write .*a.png with one channel"):
        open_picture(saved(tmp_path / "a.png", Image.fromarray(UPRIGHT))).numbers()


def png(size, bits=8):
    """The header of a picture of this size, which has no pixels."""
    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, "PNG")
    data = bytearray(stream.getvalue())
    data[16:24] = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big")
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def long_chunk():
    """A chunk of four gigabytes, it says."""
    data = png((1, 1))
    return data[:33] + b"\xff\xff\xff\xf0tEXt" + data[33:]


def short_tag():
    """A picture whose Exif ends where its first number begins."""
    stream = io.BytesIO()
    Image.new("RGB", (5, 4)).save(stream, "PNG", exif=b"II*\0")
    return stream.getvalue()


def stack(kind):
    stream = io.BytesIO()
    pages = [Image.fromarray(np.ascontiguousarray(UPRIGHT + k)) for k in range(3)]
    pages[0].save(stream, kind, save_all=True, append_images=pages[1:])
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "^Copy .* again: it is empty"),
        (b"no picture " * 20, "^Copy .* again"),
        (png((60000, 60000)), "^Make .* smaller: it has 60000 x 60000 pixels|^Make .* smaller: at most"),
        (png((9000, 9000)), "^Make .* smaller: it has 9000 x 9000 pixels"),
        (png((20000, 2)), "^Make .* smaller: it has 20000 x 2 pixels"),
        (long_chunk(), "^Copy .* again"),
        (short_tag(), "^Copy .* again"),
        (stack("TIFF"), "^Write each of the 3 pictures in .* to a file of its own"),
        (stack("PNG"), "^Write each of the 3 pictures"),
    ],
)
def test_what_is_no_single_picture_is_refused_by_its_header(tmp_path, content, message):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_picture(tmp_path / "a.png")


def test_what_is_no_file_is_refused_and_nothing_waits(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    for name in ("fifo.png", "folder.png", "loop.png"):
        with pytest.raises(UserError, match=rf"^(Give a regular file|Replace).*{name}"):
            open_picture(tmp_path / name)
    with pytest.raises(DataMissingError):
        open_picture(tmp_path / "absent.png")


def test_numbers_that_are_none_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tif"), np.full((4, 5), np.nan, np.float32))
    with pytest.raises(UserError, match="no finite numbers"):
        open_picture(tmp_path / "a.tif").frame()
