"""How many examples property tests make: few in `make test`, as many as are wanted on their own."""

import os
from typing import Final

_TIMES: Final = int(os.environ.get("TEST_EXAMPLES", "1"))


def examples(few: int) -> int:
    """So many, times the environment's TEST_EXAMPLES."""
    return few * _TIMES
