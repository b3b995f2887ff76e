"""Entry point of ``python -m hookbot``."""

from .cli.main import main

main()
