"""`bursar ledger replay` finds what apps have left."""

import sys
from pathlib import Path
from typing import Any

from bursar.sdk.recorder import Recorder
from bursar.sdk.settings import Settings
from tests.sdk.running import App
from tests.sdk.telling import spend


async def test_replay_carries_what_apps_left(database_url: str, connection: Any, tmp_path: Path) -> None:
    for app in range(2):
        left = Recorder(Settings(data_dir=tmp_path))
        left.book(spend(f"app-{app}"))
        left.close()
    shell = App(Path(sys.executable), {"DATABASE_URL": database_url, "BURSAR_DATA_DIR": str(tmp_path)})
    for found in (2, 0):
        with shell.start("-c", "from bursar.cli import main; main()", "ledger", "replay") as replay:
            output, errors = replay.communicate(timeout=60)
        assert replay.returncode == 0, errors
        assert f"{found} of {found} journals are in the database to their end." in output
    assert await connection.fetchval('SELECT count(*) FROM "LiteLLM_SpendLogs"') == 2
