"""`python -m hal.cli`: the command `hal` without an installation."""

import sys

from hal.cli import main

sys.exit(main())
