"""Imported once, by the process from which the tests fork others: it has trained, so all that takes seconds to import is there."""

import contextlib
import io
import os
import tempfile

from tqdm.auto import tqdm

from labml_ws.experiment import writing
from labml_ws.experiment.__main__ import main
from tests.experiment import interrupted

# A thread would be missing in what is forked.
tqdm.monitor_interval = 0
writing.probe = lambda config: {}
images = interrupted.images()
interrupted.cifar10.load = lambda *_, **__: images
here = os.getcwd()  # noqa: PTH109
with (
    tempfile.TemporaryDirectory() as temporary,
    contextlib.redirect_stdout(io.StringIO()),
    contextlib.redirect_stderr(io.StringIO()),
):
    os.chdir(temporary)
    main(writing.options(interrupted.tiny("sgd", epochs=1)))
    os.chdir(here)
