"""`python -m bench`: one run, its table, its JSON file, and whether it may pass."""

import argparse
import sys
import time
from pathlib import Path

import msgspec

from bench import posting, sdk
from bench.nginx import find_nginx
from bench.posting import PostingReport, measure_posting, render_posting
from bench.programs import BenchError
from bench.report import render
from bench.rounds import Say
from bench.run import Report, run
from bench.sdk import SdkReport, measure_sdk, render_sdk
from bench.sizes import FULL, QUICK

_DESCRIPTION = """\
What a call costs, beside nginx as a plain proxy: CPU seconds from the operating system, added latency, memory, start.

Four ways to the same provider (`bursar upstream`) get the same calls from the same load generator in turns: the
direct one, nginx, Bursar with everything on (virtual key with budget and limits, journal, embedded PostgreSQL, prices,
log rows), and the floor, which is Bursar's own HTTP server and client with nothing in between. At the end the ledger is
compared with the provider's bill. Then the poster is measured: how many times a worker's pace it keeps, beside COPY of
the same rows; and what the SDK's callback costs an app. docs/benchmarks.md explains the method and how to read the
table.
"""
_EPILOG = """\
Read the ratios, not the microseconds: those belong to the machine. Run it on a machine that does nothing else.

exit codes:
  0  the books agree, and all gates hold (a quick run has none)
  1  a gate failed, or ledger and bill differ
  2  the run could not be made; the message says why

examples:
  python -m bench
  python -m bench --quick
  python -m bench --poster
  python -m bench --litellm ~/litellm/bin/litellm
  make bench ARGS="--nginx /opt/nginx/sbin/nginx --json before.json"
"""
RESULT = Path("bench-result.json")


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="three to four minutes, without gates (a full run: ten to fourteen)"
    )
    parser.add_argument(
        "--poster",
        action="store_true",
        help="measure the poster alone, also with a million entries in the database (about four minutes)",
    )
    parser.add_argument(
        "--json",
        type=Path,
        default=RESULT,
        metavar="PATH",
        help=f"write all figures of all rounds there (default: {RESULT})",
    )
    parser.add_argument(
        "--nginx",
        type=Path,
        metavar="PATH",
        help="the nginx to compare with (default: of PATH; root gets one from apt)",
    )
    parser.add_argument(
        "--litellm", type=Path, metavar="PATH", help="measure LiteLLM too: its executable, in an environment of its own"
    )
    arguments = parser.parse_args()
    started_s = time.monotonic()

    def say(what: str) -> None:
        print(f"[{time.monotonic() - started_s:4.0f} s] {what}", file=sys.stderr, flush=True)

    if sys.platform != "linux":
        print("The bench reads CPU time and memory as Linux tells them; run it on Linux.", file=sys.stderr)
        return 2
    try:
        nginx = find_nginx(arguments.nginx, say)
        if arguments.poster:
            return _poster_alone(arguments, nginx, say)
        report, figures = run(QUICK if arguments.quick else FULL, nginx=nginx, litellm=arguments.litellm, say=say)
        say("the poster")
        sizes = posting.QUICK if arguments.quick else posting.FULL
        posted = measure_posting(sizes, nginx=nginx, say=say)
        by_sdk = measure_sdk(sdk.QUICK if arguments.quick else sdk.FULL, say)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    _keep(_Result(report, posted, by_sdk), arguments.json)
    gated = not arguments.quick
    print(render(report, figures), render_posting(posted, gated=gated), render_sdk(by_sdk, gated=gated), sep="\n\n")
    print(f"\nAll figures: {arguments.json}")
    return 0 if report.passed and (arguments.quick or (posted.passed and by_sdk.passed)) else 1


class _Result(msgspec.Struct, frozen=True):
    """What the JSON file holds."""

    calls: Report
    posting: PostingReport
    sdk: SdkReport


def _poster_alone(arguments: argparse.Namespace, nginx: Path, say: Say) -> int:
    posted = measure_posting(posting.QUICK if arguments.quick else posting.LONG, nginx=nginx, say=say)
    _keep(posted, arguments.json)
    print(render_posting(posted, gated=not arguments.quick))
    print(f"\nAll figures: {arguments.json}")
    return 0 if arguments.quick or posted.passed else 1


def _keep(report: msgspec.Struct, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
