"""Pictures of every mode and format become RGB, upright; what cannot is refused with its reason."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from harness.core.errors import SampleError
from harness.core.images import FORMATS, MAX_PIXELS, Transparency, decode, flat_by_transparency


def encode(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def noise(size: tuple[int, int] = (24, 16)) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds next to no pixels."""

    def chunk(body: bytes) -> bytes:
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(header) + chunk(b"IDAT" + zlib.compress(b"\0"))


def palette(*, transparent: int | bytes | None = None) -> bytes:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    return encode(image, **({} if transparent is None else {"transparency": transparent}))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(encode(Image.new("1", (3, 2), 1)), (255, 255, 255), id="1"),
        pytest.param(encode(Image.new("L", (3, 2), 77)), (77, 77, 77), id="L"),
        pytest.param(encode(Image.new("LA", (3, 2), (77, 255))), (77, 77, 77), id="LA"),
        pytest.param(palette(), (10, 200, 30), id="P"),
        pytest.param(encode(Image.new("RGB", (3, 2), (1, 2, 3))), (1, 2, 3), id="RGB"),
        pytest.param(encode(Image.new("RGBA", (3, 2), (1, 2, 3, 255))), (1, 2, 3), id="RGBA"),
        pytest.param(
            encode(Image.new("CMYK", (3, 2), (0, 255, 255, 0)), "TIFF"), (255, 0, 0), id="CMYK"
        ),
        pytest.param(
            encode(Image.new("YCbCr", (3, 2), (100, 128, 128)), "TIFF"), (100, 100, 100), id="YCbCr"
        ),
        pytest.param(encode(Image.new("I;16", (3, 2), 257 * 90)), (90, 90, 90), id="16-bit PNG"),
        pytest.param(encode(Image.new("I;16", (3, 2), 255)), (1, 1, 1), id="16-bit, rounded"),
        pytest.param(
            encode(Image.new("I;16B", (3, 2), 257 * 90), "TIFF"), (90, 90, 90), id="I;16B"
        ),
        pytest.param(encode(Image.new("I", (3, 2), 65535), "PPM"), (255, 255, 255), id="I"),
        pytest.param(encode(Image.new("F", (3, 2), 0.2), "TIFF"), (51, 51, 51), id="F"),
    ],
)
def test_every_mode_becomes_rgb_with_its_own_levels(
    data: bytes, expected: tuple[int, int, int]
) -> None:
    """Greys are scaled, not clipped."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = decode(data, label="x.png")
    assert (image.mode, image.size, image.getpixel((1, 1))) == ("RGB", (3, 2), expected)


def premultiplied() -> bytes:
    """A TIFF file whose colours are multiplied by their alpha."""
    data = encode(Image.new("RGBA", (3, 2), (0, 0, 0, 0)), "TIFF")
    kind = struct.pack("<HHI", 338, 3, 1)  # ExtraSamples, one short
    assert data.count(kind) == 1
    return data.replace(kind + struct.pack("<I", 2), kind + struct.pack("<I", 1))


def flat(data: bytes, transparency: Transparency) -> bool | None:
    return flat_by_transparency(data, label="x", transparency=transparency)


CLEAR: list[Any] = [
    pytest.param(encode(Image.new("RGBA", (3, 2), (1, 2, 3, 0))), 255, (1, 2, 3), id="RGBA"),
    pytest.param(encode(Image.new("RGBA", (3, 2), (0, 0, 0, 51))), 204, (0, 0, 0), id="graded"),
    pytest.param(
        encode(Image.new("RGBA", (3, 2), (0, 0, 0, 0)), "WEBP", lossless=True, exact=True),
        255,
        (0, 0, 0),
        id="WebP",
    ),
    pytest.param(
        encode(Image.new("RGBA", (3, 2), (5, 5, 5, 0)), "TIFF"), 255, (5, 5, 5), id="TIFF"
    ),
    pytest.param(premultiplied(), 255, (0, 0, 0), id="TIFF, premultiplied"),
    pytest.param(encode(Image.new("LA", (3, 2), (77, 0))), 255, (77, 77, 77), id="LA"),
    pytest.param(palette(transparent=1), 255, (10, 200, 30), id="P with one transparent colour"),
    pytest.param(palette(transparent=b"\xff\0"), 255, (10, 200, 30), id="P with graded alpha"),
    pytest.param(
        encode(Image.new("P", (3, 2), 0), "GIF", transparency=0), 255, (0, 0, 0), id="GIF"
    ),
    pytest.param(
        encode(Image.new("RGB", (3, 2), (1, 2, 3)), transparency=(1, 2, 3)),
        255,
        (1, 2, 3),
        id="RGB with tRNS",
    ),
    pytest.param(
        encode(Image.new("L", (3, 2), 9), transparency=9), 255, (9, 9, 9), id="L with tRNS"
    ),
    pytest.param(
        encode(Image.new("1", (3, 2), 0), transparency=0), 255, (0, 0, 0), id="1 with tRNS"
    ),
    pytest.param(
        encode(Image.new("I;16", (3, 2), 257 * 90), transparency=257 * 90),
        255,
        (90, 90, 90),
        id="16 bits with tRNS",
    ),
]


@pytest.mark.parametrize(("data", "blended", "below"), CLEAR)
def test_transparent_parts_are_blended_on_white_or_dropped(
    data: bytes, blended: int, below: tuple[int, int, int]
) -> None:
    """White shows through; where it is dropped, the colours below it are kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(data, label="x").getpixel((1, 1)) == (blended,) * 3
        assert decode(data, label="x", transparency="drop").getpixel((1, 1)) == below
    assert flat(data, "blend")
    assert flat(data, "drop")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_what_is_opaque_is_the_same_either_way(mode: str) -> None:
    """A channel of alpha alone makes no picture transparent."""
    opaque = noise().convert("RGBA").convert("L" if mode == "I;16" else mode)
    data = encode(opaque.convert(mode), "TIFF" if mode == "CMYK" else "PNG")
    blended, dropped = (decode(data, label="x", transparency=t) for t in ("blend", "drop"))
    assert blended.tobytes() == dropped.tobytes()
    assert flat(data, "blend") is None


@pytest.mark.parametrize(
    ("ink", "blended", "dropped"), [("black", False, True), ("white", True, False)]
)
def test_lines_on_a_clear_ground_can_become_one_flat_colour(
    ink: str, blended: bool, dropped: bool
) -> None:
    """Black ones where transparency is dropped, white ones where it is blended on white."""
    picture = Image.new("RGBA", (9, 9), (0, 0, 0, 0))
    picture.paste(ink, (2, 2, 7, 4))
    assert (flat(encode(picture), "blend"), flat(encode(picture), "drop")) == (blended, dropped)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 101), (20000, 199), (3, 400)])
@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM"])
def test_a_picture_of_very_unequal_sides_is_refused(size: tuple[int, int], form: str) -> None:
    """A processor that scales its shorter side would make gigabytes of it; 1 to 100 is taken."""
    data = encode(Image.new("L", size), form)
    with pytest.raises(SampleError, match=rf"^x: {size[0]} x {size[1]} .* more than 100 times"):
        decode(data, label="x")
    assert decode(encode(Image.new("L", (300, 3)), form), label="x").size == (300, 3)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_levels_beyond_the_usual_range_are_stretched(mode: str) -> None:
    """The darkest level of such a picture becomes 0, the lightest 255, the middle 128."""
    image = Image.new(mode, (3, 1))
    image.putdata([-100_000, 0, 100_000])
    decoded = decode(encode(image, "TIFF"), label="x.tiff")
    assert [decoded.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


@pytest.mark.parametrize("form", FORMATS)
def test_every_named_format_is_read(form: str) -> None:
    """The pixels are those that Pillow's own conversion gives."""
    data = encode(noise(), form)
    expected = Image.open(BytesIO(data)).convert("RGB")
    assert decode(data, label="x").tobytes() == expected.tobytes()


def test_cmyk_jpeg_is_not_inverted() -> None:
    """White ink levels come out white from a JPEG file as well."""
    data = encode(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG", quality=95)
    assert decode(data, label="x.jpg").getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(orientation: int, form: str) -> None:
    """All eight orientations agree with Pillow's own transposition."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(noise(), form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    expected = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
    decoded = decode(data, label="x")
    assert decoded.size == ((24, 16) if orientation < 5 else (16, 24))
    assert decoded.tobytes() == expected.tobytes()


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0", b"Exif\0\0garbage", b"Exif\0\0"])
def test_broken_exif_leaves_the_picture_as_it_is(exif: bytes) -> None:
    """Metadata that cannot be read is no reason to lose a picture."""
    assert decode(encode(noise(), "JPEG", exif=exif), label="x.jpg").size == (24, 16)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(form: str) -> None:
    """Later frames are not looked at."""
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    data = encode(frames[0], form, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode(data, label="x").getpixel((0, 0)), (255, 0, 0), atol=4)


@pytest.mark.parametrize(
    "size", [(9000, 8000), (10_000, 10_000), (60_000, 60_000), (MAX_PIXELS + 1, 1)]
)
@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_decompression_bomb_is_refused_by_its_header(size: tuple[int, int], action: Any) -> None:
    """Neither the claim alone nor Pillow's own warning or error gets through."""
    with warnings.catch_warnings():
        warnings.simplefilter(action, Image.DecompressionBombWarning)
        with pytest.raises(SampleError, match=r"images/7\.png: .*pixels.* more than"):
            decode(png_header(*size), label="images/7.png")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_file_is_refused(form: str, share: float) -> None:
    """Half a picture is no picture, in any format."""
    data = encode(noise(), form)
    with pytest.raises(SampleError, match=r"^images/7: "):
        decode(data[: int(len(data) * share)], label="images/7")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(b"hello, this is text", "not a picture", id="text"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture", id="SVG"),
        pytest.param(
            encode(noise(), "EPS"), "not a picture", id="EPS, which would run Ghostscript"
        ),
        pytest.param(encode(noise(), "PDF"), "not a picture", id="PDF"),
        pytest.param(encode(noise(), "ICO"), "not a picture", id="ICO, which is not named"),
        pytest.param(png_header(10, 10), "cannot be decoded", id="PNG without pixels"),
        pytest.param(png_header(0, 10), "x: ", id="PNG without width"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(100), "x: ", id="PNG of zeros"),
        pytest.param(
            encode(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF"),
            "not all finite",
            id="TIFF of NaN",
        ),
    ],
)
def test_what_is_no_picture_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    """Only formats that are named are tried, and never one that runs another program."""
    with pytest.raises(SampleError, match=reason):
        decode(data, label="x")


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_files_raise_nothing_else(form: str) -> None:
    """Whatever bytes are changed in a file, the outcome is a picture or a SampleError."""
    random = np.random.default_rng(1)
    data = np.frombuffer(encode(noise(), form), np.uint8)
    outcomes = set()
    for _ in range(60):
        broken = data.copy()
        at = random.integers(0, len(data), 6)
        broken[at] = random.integers(0, 256, 6)
        with warnings.catch_warnings(), contextlib.suppress(SampleError):
            warnings.simplefilter("ignore")
            outcomes.add(decode(broken.tobytes(), label="x").mode)
    assert outcomes <= {"RGB"}
