#!/usr/bin/env python3
"""Deploy or scale the fleet: `python deploy_agents.py --count 620`. Idempotent, up or down, proven at the end."""

from control.commands.deploy import main

if __name__ == "__main__":
    main()
