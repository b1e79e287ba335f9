"""One of many instances: records calls until it is killed, through Redis; prints the id of each that is on record."""

import os
import sys
import time

from bursar.sdk.recorder import Recorder
from bursar.sdk.settings import Settings
from tests.sdk.telling import spend

recorder = Recorder(Settings(uses_redis=lambda: True))
for number in range(100_000):
    told = f"{sys.argv[1]}-{number}"
    recorder.book(spend(told))
    os.write(1, f"{told}\n".encode())
    time.sleep(0.0005)
