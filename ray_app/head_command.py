"""`ray start` without the server of Ray Client.

Nothing here speaks Ray Client (`ray://`), and its server costs 48 MB and a port on all interfaces. Ray 2.60 has no
switch for it; it leaves it out where what that needs is not installed, so that is what it is told.
"""

from __future__ import annotations

from typing import Final

from ray.scripts import scripts

_ASKED: Final = "get_ray_client_dependency_error"


def main() -> None:
    """Run the command line of Ray in this process."""
    if not hasattr(scripts, _ASKED):
        raise SystemExit(f"This version of Ray has no {_ASKED}: it would start the server of Ray Client.")
    left_out = ImportError("Colony does not use Ray Client.")
    setattr(scripts, _ASKED, lambda: left_out)
    scripts.main()


if __name__ == "__main__":
    main()
