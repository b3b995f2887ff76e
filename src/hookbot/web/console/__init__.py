"""The console at ``/hookbot/``: what came, why it was refused, who listens and how far behind.

`create_console` makes its routes: pages (``templates/``), which are empty shells, the modules and styles that fill them
from the API (``static/``), and signing in and out.
"""

from .pages import create_console, is_visit

__all__ = ["create_console", "is_visit"]
