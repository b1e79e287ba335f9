"""docs/sdk.md and the examples do what they say."""

import re
from typing import Any

import pytest

from tests.sdk.running import ROOT, App

BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "sdk.md").read_text(), re.MULTILINE | re.DOTALL)


async def booked(connection: Any) -> dict[str, int]:
    rows = await connection.fetch(
        'SELECT "user", count(*), sum(spend) AS spend FROM "LiteLLM_SpendLogs" GROUP BY 1 ORDER BY 1'
    )
    assert all(row["spend"] > 0 for row in rows)
    return {row["user"]: row["count"] for row in rows}


@pytest.mark.parametrize(("block", "calls"), [(0, 1), (1, 10), (2, 1)])
async def test_quick_starts(newest_app: App, connection: Any, block: int, calls: int) -> None:
    assert len(BLOCKS) == 3
    newest_app.run_code(BLOCKS[block])
    assert await booked(connection) == {"sdk-user-123": calls}


@pytest.mark.parametrize("name", ["sdk_litellm", "sdk_ledger"])
async def test_examples(newest_app: App, connection: Any, name: str) -> None:
    assert "in the database: True" in newest_app.run_code((ROOT / "examples" / f"{name}.py").read_text())
    assert await booked(connection) == {"alice": 1, "bob": 1}
