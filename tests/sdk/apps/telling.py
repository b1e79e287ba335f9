"""An app that records calls, `telling <pause in seconds>`, until its input ends, and then waits for its books.

Twice a second, and at the end, it prints how many it has told, its memory, and its health, as a line of JSON.
"""

import json
import os
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from bursar.sdk.recorder import Recorder
from bursar.sdk.settings import Settings
from tests.sdk.telling import spend

PAUSE_S = float(sys.argv[1])
ended = threading.Event()
recorder = Recorder(Settings())


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def tell(told: int) -> None:
    health = asdict(recorder.health())
    print(json.dumps({"told": told, "resident_mb": resident_mb(), **health}), flush=True)


def wait_for_end() -> None:
    sys.stdin.read()
    ended.set()


threading.Thread(target=wait_for_end, daemon=True).start()
told = 0
next_s = time.monotonic()
while not ended.is_set():
    recorder.book(spend(str(told)))
    told += 1
    if time.monotonic() >= next_s:
        next_s += 0.5
        tell(told)
    time.sleep(PAUSE_S)
recorder.flush(60)
tell(told)
