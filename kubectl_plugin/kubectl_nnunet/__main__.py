"""`python -m kubectl_nnunet`: the same as `kubectl nnunet`."""

import sys

from .cli import main

sys.exit(main())
