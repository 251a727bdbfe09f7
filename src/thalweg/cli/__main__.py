"""`python -m thalweg.cli`."""

import sys

from thalweg.cli.commands import main

sys.exit(main())
