"""What a newcomer does, from `make serve` to the books, and what must not harm them: Ctrl-C, and kill -9 of everything.

    make smoke

Prints what it does. Exit code 1, with what the gateway printed, where something is not as it must be.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.process.process_table import family, survivors  # noqa: E402  # the repository's root is on the path now
from tests.process.program import Program, clean_environment  # noqa: E402

BURSAR = Path(sys.executable).with_name("bursar")
START_AGAIN_MAX_S = 15.0
"""A second or two; slow machines get more."""
POSTED_WITHIN_S = 30.0
ENDED_WITHIN_S = 30.0
QUESTION = "How are the books today?"
DEMO_PRICE_NANO_USD = {"prompt_tokens": 150, "completion_tokens": 600}
"""Per token: 0.15 and 0.60 US dollars a million."""

_ROWS = """
SELECT coalesce(json_agg(json_build_object(
    'id', request_id, 'spend', spend, 'prompt_tokens', prompt_tokens, 'completion_tokens', completion_tokens
) ORDER BY "startTime"), '[]') FROM "LiteLLM_SpendLogs"
"""


@dataclass(frozen=True)
class Answer:
    """What the client was told of one call."""

    id: str
    prompt_tokens: int
    completion_tokens: int

    @property
    def cost_nano_usd(self) -> int:
        """At the demo's prices."""
        return (
            self.prompt_tokens * DEMO_PRICE_NANO_USD["prompt_tokens"]
            + self.completion_tokens * DEMO_PRICE_NANO_USD["completion_tokens"]
        )


class Smoke:
    """One data directory, and the gateways that run on it one after the other."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._data = place / "data"
        self._started_s = time.monotonic()
        self._answers: list[Answer] = []
        self._key = ""

    def run(self) -> None:
        """The whole story."""
        self.say("make serve, for the first time")
        with self._serving() as program:
            self._key = program.wait_for(r"^  Admin key  (sk-\S+)   \(made just now")[1]
            self._call_both_ways(program)
            self._look_into_the_books()
            self.say("Ctrl-C")
            everything = program.family()
            program.interrupt()
            program.wait(ENDED_WITHIN_S)
            expect(survivors(everything, ENDED_WITHIN_S) == [], "everything ends at Ctrl-C")
        self.say("make serve again: the same key, the same books")
        with self._serving(within_s=START_AGAIN_MAX_S) as program:
            self._check_key(program)
            self._look_into_the_books()
            self._call_both_ways(program)
            everything = program.family()
            self.say(f"kill -9 of everything: {len(everything)} processes, the database's among them")
            program.kill_all()
        self.say("make serve again: the same key, the same books, and what had not reached them yet")
        with self._serving(within_s=START_AGAIN_MAX_S) as program:
            self._check_key(program)
            self._look_into_the_books()
            self._call_both_ways(program)
            self._look_into_the_books()
            everything = program.family()
            self.say("Ctrl-C")
            program.interrupt()
            program.wait(ENDED_WITHIN_S)
            expect(survivors(everything, ENDED_WITHIN_S) == [], "everything ends at Ctrl-C")
        expect(family(program.pid, self._place) == [], "nothing runs any more")

    @contextmanager
    def _serving(self, *, within_s: float = 120.0) -> Iterator[Program]:
        arguments = f"--port 0 --data-dir '{self._data}'"
        program = Program(
            *("--no-print-directory", "-C", str(ROOT), f"VENV={sys.prefix}", "serve", f"ARGS={arguments}"),
            command=(shutil.which("make") or "/usr/bin/make",),
            place=self._place,
            environ={"MAKEFLAGS": "", "MFLAGS": "", "MAKELEVEL": ""},  # of the make that runs us
        )
        try:
            program.wait_for(r"^  Base URL   ", timeout_s=within_s)
            self.say(f"ready {program.age_s:.1f} s after make was started")
            yield program
        except BaseException:
            print(f"--- The gateway printed:\n{program.output}---", file=sys.stderr)
            raise
        finally:
            program.close()

    def _call_both_ways(self, program: Program) -> None:
        base_url = program.wait_for(r"^  Base URL   (http://\S+)$")[1]
        with openai.OpenAI(base_url=base_url, api_key=self._key, max_retries=0) as client:
            message = client.chat.completions.create(model="demo", messages=[{"role": "user", "content": QUESTION}])
            text = message.choices[0].message.content or ""
            expect(bool(text), "the demo answers")
            assert message.usage is not None
            self._answers.append(Answer(message.id, message.usage.prompt_tokens, message.usage.completion_tokens))
            self.say(f"openai client, non-streamed: {text[:50]!r} … {self._answers[-1]}")

            streamed, answer = "", None
            for chunk in client.chat.completions.create(
                model="demo",
                messages=[{"role": "user", "content": QUESTION}],
                stream=True,
                stream_options={"include_usage": True},
            ):
                streamed += "".join(choice.delta.content or "" for choice in chunk.choices)
                if chunk.usage is not None:
                    answer = Answer(chunk.id, chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
            expect(bool(streamed), "the demo answers in a stream")
            assert answer is not None
            self._answers.append(answer)
            self.say(f"openai client, streamed:     {streamed[:50]!r} … {answer}")

    def _look_into_the_books(self) -> None:
        """Every call has one row, with the right cost: through psql, as a person looks."""
        expected = sorted((a.id, a.cost_nano_usd, a.prompt_tokens, a.completion_tokens) for a in self._answers)
        deadline = time.monotonic() + POSTED_WITHIN_S
        while True:
            rows = json.loads(self._bursar("db", "shell", "-At", "-c", _ROWS))
            found = sorted(
                (row["id"], round(row["spend"] * 1e9), row["prompt_tokens"], row["completion_tokens"]) for row in rows
            )
            if found == expected or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        expect(found == expected, f"the books hold {expected}; they hold {found}")
        total = sum(cost for _, cost, _, _ in found)
        self.say(f"LiteLLM_SpendLogs: {len(found)} rows, {total} nano-dollars, as the answers' usage says")
        expect(self._bursar("db", "url").startswith("postgresql://"), "bursar db url prints a URL")

    def _check_key(self, program: Program) -> None:
        expect("made just now" not in program.output, "no new key is made")
        expect(self._bursar("keys", "show-admin") == self._key, "the key is the one shown at first")

    def _bursar(self, command: str, subcommand: str, *arguments: str) -> str:
        """What a command prints about our data directory."""
        options = ["--data-dir", str(self._data)]
        done = subprocess.run(
            [BURSAR, command, subcommand, *options, *arguments],
            capture_output=True,
            text=True,
            env=clean_environment(),
            check=False,
        )
        expect(done.returncode == 0, f"bursar {command} {subcommand} works: {done.stderr}")
        return done.stdout.strip()

    def say(self, text: str) -> None:
        """One line, with the seconds since the start."""
        print(f"[{time.monotonic() - self._started_s:5.1f} s] {text}", flush=True)


def expect(condition: bool, what: str) -> None:
    """Raises AssertionError, also where assertions are switched off."""
    if not condition:
        raise AssertionError(f"expected: {what}")


def main() -> int:
    """The exit code."""
    place = Path(tempfile.mkdtemp(prefix="bursar-smoke-"))
    place.chmod(0o711)  # started by root, the database runs as another user, who passes through here
    smoke = Smoke(place)
    try:
        smoke.run()
    except AssertionError as error:
        print(f"Failed: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(place)
    smoke.say("All as it must be.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
