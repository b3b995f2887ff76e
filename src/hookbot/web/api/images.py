"""Images: what a browser may show of a body, because it can do no more with it than draw."""

BYTES = "application/octet-stream"
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)


BODIES = (BYTES, *(f"image/{kind}" for kind in ("png", "jpeg", "gif", "webp", "avif")))
"""Every content type of a body."""


def image_type(data: bytes) -> tuple[str, str]:
    """Content type and suffix of a raster image by its first bytes; those of any bytes otherwise (also of SVG)."""
    for beginning, kind in _BEGINNINGS:
        if data.startswith(beginning):
            return f"image/{kind}", kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp", "webp"
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis"):
        return "image/avif", "avif"
    return BYTES, "bin"
