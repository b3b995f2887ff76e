"""``python -m hookbot``."""

from .cli.main import main

main()
