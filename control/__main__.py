"""`python -m control` is the `colony` command."""

from __future__ import annotations

from control.cli import main

main()
