"""The version of hookbot, defined here only; the build of the package reads it."""

__version__ = "1.0.0"
