"""One of many instances, `instance <name> <file>`: records calls until it is killed, through Redis. The file gets the
id of each that is on record."""

import os
import sys
import time

from bursar.sdk.recorder import Recorder
from bursar.sdk.settings import Settings
from tests.sdk.telling import spend

NAME, FILE = sys.argv[1:]
told = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
recorder = Recorder(Settings(uses_redis=lambda: True))
for number in range(1_000_000):
    call = f"{NAME}-{number}"
    recorder.book(spend(call))
    os.write(told, f"{call}\n".encode())
    time.sleep(0.001)
