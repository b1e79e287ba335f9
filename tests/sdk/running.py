"""Running apps that use LiteLLM's SDK."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@dataclass
class App:
    """How programs are run."""

    python: Path
    environ: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, **environ: str) -> "subprocess.Popen[str]":
        """Start `python arguments`, its output to be read."""
        return subprocess.Popen(
            [self.python, *arguments],
            cwd=ROOT,
            env=_environment() | self.environ | environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, name: str, *arguments: str, given: str = "", patience_s: float = 60, **environ: str) -> str:
        """Run `tests.sdk.apps.<name>` to its end, `given` as its input; what it printed."""
        program = self.start("-m", f"tests.sdk.apps.{name}", *arguments, **environ)
        return self._finish(program, given, patience_s)

    def run_code(self, code: str, **environ: str) -> str:
        """Run a program given as text, as the documentation's are; what it printed."""
        return self._finish(self.start("-c", code, **environ))

    def _finish(self, program: "subprocess.Popen[str]", given: str = "", patience_s: float = 60) -> str:
        with program:
            try:
                output, errors = program.communicate(given, timeout=patience_s)
            except subprocess.TimeoutExpired:
                program.kill()
                raise
        assert program.returncode == 0, errors
        assert "sdk." not in errors, errors
        return output


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return kept | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
