"""hookbot: a webhook hub."""

__version__ = "1.0.0"
