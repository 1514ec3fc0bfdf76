"""`ray start` without the server of Ray Client.

Nothing here speaks Ray Client (`ray://`), and its server costs 48 MB and a port on all interfaces. Ray 2.60 has no
switch for it; it leaves it out where what that needs is not installed, so that is what it is told.
"""

from __future__ import annotations

from ray.scripts import scripts


def main() -> None:
    """Run the command line of Ray in this process."""
    left_out = ImportError("Colony does not use Ray Client.")
    scripts.get_ray_client_dependency_error = lambda: left_out  # pyright: ignore[reportPrivateImportUsage] -- Ray's own
    scripts.main()


if __name__ == "__main__":
    main()
