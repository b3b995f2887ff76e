import pytest

from hookbot.web.api.images import BYTES, image_type


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n...", "png"),
        (b"\xff\xd8\xff\xe0...", "jpeg"),
        (b"GIF89a...", "gif"),
        (b"GIF87a...", "gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
        (b"\0\0\0\x20ftypavif", "avif"),
    ],
)
def test_an_image_is_known_by_its_bytes(data: bytes, kind: str) -> None:
    assert image_type(data) == (f"image/{kind}", kind)


@pytest.mark.parametrize(
    "data", [b"", b"<svg onload='alert(1)'/>", b"<!doctype html>", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x20ftypmp42", b"GIF"]
)
def test_anything_else_is_just_bytes(data: bytes) -> None:
    assert image_type(data) == (BYTES, "bin")
