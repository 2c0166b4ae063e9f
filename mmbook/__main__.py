"""`python -m mmbook`."""

import sys

from mmbook.cli import main

sys.exit(main())
