"""``python -m hookbot``."""

from .cli import main

main()
