"""How long tests wait for what must come.

Whether something comes is asked by `make test`, on machines that do other things too; how soon, by `make long`.
"""

import pytest

PATIENCE_S = 30.0
"""Nobody but a test that fails waits for so long."""


def promised(seconds: float) -> pytest.MarkDecorator:
    """A test whose `at_most_s` is PATIENCE_S in `make test`, and what users are promised, `seconds`, in `make long`."""
    return pytest.mark.parametrize(
        "at_most_s",
        [pytest.param(PATIENCE_S, id="at all"), pytest.param(seconds, id="in time", marks=pytest.mark.long)],
    )
