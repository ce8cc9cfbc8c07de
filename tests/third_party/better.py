"""What a run found to be better than recorded: the tests write it, the end of the run reads it."""

import pytest

BETTER: pytest.StashKey[list[str]] = pytest.StashKey()
