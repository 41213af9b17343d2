"""Records what the demos of modules print and bind: `python -m mkdocstrings_handlers.annotated FOLDER pkg/mod.py …`."""

import sys

from .understand.run import main

sys.exit(main(*sys.argv[1:]))
