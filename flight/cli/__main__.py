"""`python -m flight.cli`: the command `flight` without an installation."""

import sys

from flight.cli import main

sys.exit(main())
