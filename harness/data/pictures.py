"""The fields of a row that hold its pictures, and what they contain.

    {"images": ["a.png", "data:image/png;base64,..."]} -> Name("a.png"), Encoded(...)

A picture is named by a path or contained in the row itself: as bytes, as a data address, or as
base64. No file is opened here.
"""

from __future__ import annotations

import ast
import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes

from harness.core.errors import DataError

MAX_IMAGE_BYTES = 256 * 2**20
LONGEST_NAME = 4096
"""Characters of a path: what no file system takes is no name."""


@dataclass(frozen=True, slots=True)
class Name:
    """A picture in a file of the data folder."""

    path: str


@dataclass(frozen=True, slots=True, repr=False)
class Encoded:
    """A picture that its row contains."""

    written: str | bytes

    def data(self) -> bytes:
        """The encoded file; raises ValueError, which says what is wrong with it."""
        data = self.written if isinstance(self.written, bytes) else _decoded(self.written)
        if len(data) > MAX_IMAGE_BYTES:
            raise ValueError(f"{len(data):,} bytes are too many for a picture")
        return data


Part = Name | Encoded

EXAMPLES = "image, images, image_path, img or image_1"
"""How a message names the fields in which pictures are looked for."""
_THINGS = frozenset({"image", "images", "img", "imgs", "picture", "pictures", "photo", "photos"})
_NAMES = frozenset(
    {"name", "names", "filename", "filenames", "file", "files", "url", "urls", "uri", "uris"}
)
_FORMS = _NAMES | {
    *("path", "paths", "bytes", "base64", "b64", "data", "encoded", "decoded"),
    *("question", "query", "input", "main"),
}
"""What may be added to the name of a thing: `image_size` or `image_id` hold no picture, and an
answer's picture is not shown."""
_FILE_NAMES = frozenset({("file", "name"), ("filename",), ("file", "names"), ("filenames",)})
"""As the hub's image folders call their column."""


@cache
def picture_fields(names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The fields that can hold pictures. The first group that is not empty holds them all: `image`,
    `images`, then the others in their order; numbered ones (`image_1`, `image_2` ...) are one
    group. A `decoded_image` goes before the `image` that it is decoded from. Next to `image` or
    `images`, a name or a web address only gives the picture's origin."""
    groups: dict[tuple[str, ...], list[tuple[int, str]]] = {}
    for name in names:
        words = tuple(word.lower() for word in _WORDS.findall(name))
        plain = tuple("#" if word.isdecimal() else word for word in words)
        if plain.count("#") < 2 and _names_pictures(tuple(word for word in plain if word != "#")):
            number = sum(int(word) for word in words if word.isdecimal())
            groups.setdefault(plain, []).append((number, name))
    whole = [words for words in (("image",), ("images",)) if words in groups]
    others = [words for words in groups if words not in whole]
    if whole:
        others = [words for words in others if not _NAMES.intersection(words)]
    ordered = sorted([*whole, *others], key=lambda words: "decoded" not in words)
    return tuple(tuple(name for _, name in sorted(groups[words])) for words in ordered)


_WORDS = re.compile(r"(?i:b(?:ase)?64)|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]{1,9}|[^\W\d_a-zA-Z]+")


def _names_pictures(words: tuple[str, ...]) -> bool:
    if words in _FILE_NAMES:
        return True
    things = [word for word in words if word in _THINGS]
    return len(things) == 1 and all(word in _THINGS | _FORMS for word in words)


def pictures_in(fields: Mapping[str, Any], *, where: str) -> list[tuple[str, list[Part]]]:
    """The fields of a row that hold its pictures, with them; raises DataError."""
    for group in picture_fields(tuple(fields)):
        parts = [(name, parts_of(fields[name], where=where, key=name)) for name in group]
        if any(each for _, each in parts):
            return parts
    return []


@cache
def picture_number(name: str) -> int:
    """3 for the field `image_3`; 0 for one without a number."""
    numbers = [word for word in _WORDS.findall(name) if word.isdecimal()]
    return int(numbers[0]) if numbers else 0


def parts_of(value: object, *, where: str, key: str) -> list[Part]:
    """The pictures in a field's value; null, "" and white space mean none.

    Raises:
        DataError: the value is of a kind that holds no picture.
    """
    try:
        return list(_parts(value, deep=3))
    except TypeError:
        raise DataError(
            f"{where}, field {key!r}: must be a path, a data address, base64, or a list or an "
            f"object of these, found {found(value)}."
        ) from None


def _parts(value: object, *, deep: int) -> Iterator[Part]:
    """Raises TypeError."""
    if value is None or value == {} or value != value:  # noqa: PLR0124  # NaN is not itself
        return
    if isinstance(value, Encoded):
        yield value
    elif isinstance(value, str):
        yield from _text_parts(value.strip(), deep=deep)
    elif isinstance(value, bytes | bytearray | memoryview):
        if len(value):
            yield Encoded(_unwrapped(bytes(value)))
    elif deep and isinstance(value, Mapping):
        yield from _object_parts(value, deep=deep - 1)
    elif deep and isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item, deep=deep - 1)
    else:
        raise TypeError


def _text_parts(text: str, *, deep: int) -> Iterator[Part]:
    if text.lower() in _NOTHING:
        return
    if text[:5].lower() == "data:" or _is_base64(text):
        yield Encoded(text)
    elif (inner := _written_out(text)) is not None:
        yield from _parts(inner, deep=deep)
    elif len(text) > LONGEST_NAME:
        yield Encoded(text)  # its decoding raises that it is no base64
    else:
        yield Name(text)


_NOTHING = frozenset({"", "nan", "none", "null"})
"""How an empty cell is written, by pandas for one."""


def _unwrapped(data: bytes) -> str | bytes:
    """Bytes that are base64 or a data address as that text; others as they are."""
    beginnings = tuple(text.encode() for text in _BEGINNINGS)
    if data[:5].lower() == b"data:" or (data[:40].isascii() and data.startswith(beginnings)):
        return data.decode("ascii", "replace")
    return data


def _object_parts(value: Mapping[Any, Any], *, deep: int) -> Iterator[Part]:
    """An object with the picture's bytes, or with its path: as the hub's libraries write one."""
    for keys in (_BYTES, _PATHS):
        for key in keys:
            inner = value.get(key)
            if key in _BYTES and isinstance(inner, list) and _are_bytes(inner):
                inner = bytes(inner)
            if key in _BYTES and isinstance(inner, str) and inner.strip():
                inner = Encoded(inner)
            if parts := list(_parts(inner, deep=deep)):
                yield from parts
                return
    if not any(key in value for key in (*_BYTES, *_PATHS)):
        raise TypeError


_BYTES = ("bytes", "base64", "b64", "data")
_PATHS = (
    *("path", "file", "file_name", "filename", "name"),
    *("url", "image_url", "image", "image_path", "src", "uri"),
)


def _are_bytes(values: list[Any]) -> bool:
    return all(isinstance(value, int) and 0 <= value < 256 for value in values)


def _written_out(text: str) -> Any:
    """The list, object or bytes that a text is, as JSON or as Python writes them; None where it is
    none of these."""
    is_bytes = text[:2] in {"b'", 'b"'} and text[-1] == text[1]
    if not is_bytes and (text[0], text[-1]) not in {("[", "]"), ("{", "}")}:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)  # constants alone: nothing is run
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


_ALPHABET = re.compile(r"[A-Za-z0-9+/_\s-]+={0,2}\s*")
_BEGINNINGS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR", "Qk", "SUkq", "TU0A", "UD")
"""Of PNG, JPEG, GIF, WebP, BMP, TIFF in both byte orders, and PPM, in base64."""
_SHORTEST = 40
"""Characters of the smallest picture in base64."""
_LONGEST_BARE_NAME = 100
"""Characters of a path without an ending; the hashes that name files have 64."""


def _is_base64(text: str) -> bool:
    """Whether a text is base64, and not a path: which has a full stop somewhere, or is short."""
    if "." in text or len(text) < _SHORTEST:
        return False
    is_long = len(text) > _LONGEST_BARE_NAME and _ALPHABET.fullmatch(text) is not None
    return is_long or text.startswith(_BEGINNINGS)


_WITHIN = re.compile(r"data:image/[\w.+-]+;base64,[A-Za-z0-9+/_-]{40}", re.IGNORECASE)


def holds_picture(text: str) -> bool:
    """Whether a text is a picture in base64, or has one in it, as Markdown and HTML can."""
    return _WITHIN.search(text) is not None or (
        text.startswith(_BEGINNINGS) and len(text) > 1000 and _is_base64(text.strip())
    )


def _decoded(text: str) -> bytes:
    """The bytes of a data address, or of bare base64; raises ValueError."""
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma:
            raise ValueError("not a data address: it has no comma")
        plain = unquote_to_bytes(text)
        if not head.lower().endswith(";base64"):
            return plain
        text = plain.decode("ascii", "replace")
    letters = "".join(text.split()).rstrip("=").translate(_URL_SAFE)
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error
    except ValueError as error:  # a letter beyond ASCII
        raise ValueError("not base64") from error


_URL_SAFE = str.maketrans("-_", "+/")


def found(value: object) -> str:
    """`value` as an error message shows it: escaped, short, with its type."""
    text = ascii(value)
    kind = type(value).__name__
    if isinstance(value, list | tuple):
        kind = f"{kind} of {len(value)}"
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({kind})"


def columns(names: Iterable[str]) -> str:
    """Fields as a message lists them."""
    shown = [ascii(name)[1:-1][:40] for name in names]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")
