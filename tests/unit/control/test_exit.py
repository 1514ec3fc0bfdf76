from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("command", "code", "output", "error"),
    [
        ("print('said')", 0, "said\n", ""),
        ("print('said'); sys.exit(3)", 3, "said\n", ""),
        ("sys.exit('wrong')", 1, "", "wrong\n"),
        ("sys.exit(None)", 0, "", ""),
        ("print('said'); sys.stdout.close()", 0, "said\n", ""),
    ],
)
def test_a_process_leaves_with_its_code_and_all_it_said(command: str, code: int, output: str, error: str) -> None:
    program = "\n".join(
        [
            "import atexit, sys",
            "from control.exit import run_and_leave",
            "atexit.register(print, 'finalised')",
            "def command():",
            f"    {command}",
            "run_and_leave(command)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, output, error)


def test_other_errors_are_raised() -> None:
    program = (
        "from control.exit import serve_and_leave\nasync def main():\n    raise KeyError('no')\nserve_and_leave(main)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "KeyError: 'no'" in done.stderr
