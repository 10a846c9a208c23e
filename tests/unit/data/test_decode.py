from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest_images import tinted
from PIL import Image

from emabench.data.decode import decode, inspect, resize_arrays, to_rgb, to_square
from emabench.errors import DataError


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(tinted(1, 24)[0])


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "YCbCr", "RGB"])
@pytest.mark.parametrize("shape", [(24, 24), (30, 20), (17, 40)])
def test_every_mode_becomes_square_rgb(
    mode: str, shape: tuple[int, int], picture: Image.Image, tmp_path: Path
) -> None:
    image = picture.resize(shape)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    suffix = {"CMYK": "tif", "YCbCr": "jpg"}.get(mode, "png")
    path = saved(tmp_path / f"image.{suffix}", image)
    for crop in ("center", "stretch"):
        array = decode(path, 16, crop)
        assert array.shape == (16, 16, 3)
        assert array.dtype == np.uint8
        assert array.std() > 10


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("P", "png"), ("RGBA", "png"), ("CMYK", "tif"), ("CMYK", "jpg"), ("YCbCr", "jpg")],
)
def test_colours_stay_what_they_are(
    mode: str, suffix: str, picture: Image.Image, tmp_path: Path
) -> None:
    image = picture.quantize(256) if mode == "P" else picture.convert(mode)
    options = {"quality": 95, "subsampling": 0} if suffix == "jpg" else {}
    array = decode(saved(tmp_path / f"image.{suffix}", image, **options), 24, "center")
    assert abs(array.astype(int) - np.asarray(picture)).mean() < 4


def test_grey_of_16_bits_keeps_its_brightness(picture: Image.Image, tmp_path: Path) -> None:
    grey = np.asarray(picture.convert("L"))
    path = saved(tmp_path / "deep.png", Image.fromarray(grey.astype(np.uint16) * 257))
    assert (decode(path, 24, "center") == grey[..., None]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_show_white(mode: str, picture: Image.Image, tmp_path: Path) -> None:
    image = picture.convert("RGBA")
    image.paste((200, 30, 30, 0), (0, 0, 12, 24))
    image = image.quantize(64) if mode == "P" else image.convert(mode)
    array = decode(saved(tmp_path / "clear.png", image), 24, "center")
    assert (array[:, :12] == 255).all()
    assert (array[:, 12:] != 255).any()


def test_palette_with_one_transparent_colour_shows_white(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.paste(0, (0, 0, 4, 8))
    array = decode(saved(tmp_path / "key.png", image, transparency=0), 8, "center")
    assert (array[:, :4] == 255).all()
    assert (array[:, 4:] == (40, 50, 60)).all()


def test_orientation_of_the_camera_is_applied(picture: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(tmp_path / "turned.png", picture, exif=exif)
    expected = np.asarray(picture.transpose(Image.Transpose.ROTATE_270))
    assert (decode(turned, 24, "center") == expected).all()


def test_center_cuts_and_stretch_keeps_all(tmp_path: Path) -> None:
    array = np.zeros((20, 40, 3), np.uint8)
    array[:, 10:30] = 255
    path = saved(tmp_path / "wide.png", Image.fromarray(array))
    assert (decode(path, 20, "center") == 255).all()
    stretched = decode(path, 20, "stretch")
    assert (stretched[:, :3] == 0).all()
    assert (stretched[:, 9:11] == 255).all()


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = np.asarray(to_square(Image.fromarray(stripes), 8, "center"))
    assert abs(small.astype(int) - 127).max() <= 12


def test_image_of_the_size_is_not_touched(picture: Image.Image, tmp_path: Path) -> None:
    path = saved(tmp_path / "same.png", picture)
    assert (decode(path, 24, "center") == np.asarray(picture)).all()


def test_arrays_are_resized_by_the_same_rule(picture: Image.Image, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", picture)
    assert (resize_arrays(np.asarray(picture)[None], 17)[0] == decode(path, 17, "center")).all()


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (10, 200)]
    path = saved(tmp_path / "film.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (decode(path, 8, "center") == 10).all()


def test_inspection_gives_content_and_size(picture: Image.Image, tmp_path: Path) -> None:
    wide = picture.resize((30, 20))
    first, second = (saved(tmp_path / name, wide) for name in ("a.png", "b.png"))
    facts = inspect(first)
    assert (facts.width, facts.height, facts.is_deep) == (30, 20, False)
    assert inspect(second) == facts
    assert inspect(saved(tmp_path / "c.png", picture)).digest != facts.digest


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_truncated_file_is_named(suffix: str, picture: Image.Image, tmp_path: Path) -> None:
    path = saved(tmp_path / f"broken.{suffix}", picture)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=f"broken.{suffix}: cannot be decoded") as caught:
        decode(path, 24, "center")
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "the file is empty"), (b"some words", "not an image")]
)
def test_file_that_is_no_image_is_named(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(content)
    for look in (inspect, lambda p: decode(p, 8, "center")):
        with pytest.raises(DataError, match=f"note.txt: .*{reason}"):
            look(path)


def test_values_without_a_known_range_are_refused(tmp_path: Path) -> None:
    for name, array in {
        "float": np.ones((8, 8), np.float32),
        "long": np.full((8, 8), 70000, np.int32),
    }.items():
        path = saved(tmp_path / f"{name}.tif", Image.fromarray(array))
        with pytest.raises(DataError, match=rf"{name}.tif: .*no known range"):
            decode(path, 8, "center")


def test_rgb_passes_unchanged(picture: Image.Image) -> None:
    assert to_rgb(picture) is picture
