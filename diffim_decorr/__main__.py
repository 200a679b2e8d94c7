"""``python -m diffim_decorr`` is the command ``decorr``."""

from diffim_decorr.cli import main

main()
