"""`python -m stackpop.report STORE`: what the second process of a report does."""

import atexit
import gc
import sys

from stackpop.report.drawing import tell_every_other

gc.disable()  # as the command does; see `stackpop.cli`
atexit.register(gc.freeze)
tell_every_other(sys.argv[1])
