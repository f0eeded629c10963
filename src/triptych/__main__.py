"""`python -m triptych`: the same as the command `triptych`."""

import sys

from triptych.cli import main

sys.exit(main())
