"""The API beneath ``/hookbot/v1/``: everything that the console shows and does, for programs as well.

`create_api` makes it of its parts, one module for each kind of thing. Each part adds its operations to an `Api`, which
finds the scope of a request, refuses parameters that an operation does not know, encodes its answer, and describes all
of them in an OpenAPI document.
"""

from .blueprint import create_api

__all__ = ["create_api"]
