#!/usr/bin/env python3
"""Deploy or scale the fleet: `python deploy_agents.py --count 620`. Idempotent, up or down, proven at the end."""

import sys

try:
    from control.commands.deploy import main
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed for {sys.executable}. Run it as: .venv/bin/python deploy_agents.py")

if __name__ == "__main__":
    main()
