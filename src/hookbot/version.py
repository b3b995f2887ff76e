"""The version of hookbot: it stands here once, and is read when the package is built."""

__version__ = "1.0.0"
