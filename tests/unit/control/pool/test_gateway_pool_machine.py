from __future__ import annotations

import os
from pathlib import Path

from control.pool.machine import machine_memory, process_memory

GB = 1 << 30


def machine(folder: Path, cgroup: str, files: dict[str, str]) -> tuple[Path, Path]:
    proc, cgroups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:  8388608 kB\nMemFree: 1 kB\nMemAvailable:  4194304 kB\n")
    (proc / "self/cgroup").write_text(cgroup)
    for name, text in files.items():
        (cgroups / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / name).write_text(text)
    return proc, cgroups


def test_without_a_limit_it_is_the_machine(tmp_path: Path) -> None:
    assert machine_memory(*machine(tmp_path, "0::/\n", {})) == (8 * GB, 4 * GB)


def test_the_narrowest_group_counts_and_cached_files_are_free(tmp_path: Path) -> None:
    files = {
        "a/memory.max": f"{3 * GB}\n",
        "a/memory.current": f"{2 * GB}\n",
        "a/memory.stat": f"anon 5\ninactive_file {GB // 2}\nactive_file {GB // 4}\n",
        "a/b/memory.max": "max\n",
        "a/b/memory.current": "1\n",
    }
    assert machine_memory(*machine(tmp_path, "0::/a/b\n", files)) == (3 * GB, GB + GB // 2 + GB // 4)


def test_version_1_and_its_number_for_no_limit(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": f"{2 * GB}\n",
        "memory/memory.usage_in_bytes": f"{3 * GB}\n",
        "memory/x/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/x/memory.usage_in_bytes": "1\n",
    }
    found = machine_memory(*machine(tmp_path, "4:cpu,memory:/x\n3:cpuset:/\n", files))
    assert found == (2 * GB, 0)


def test_a_process_and_one_that_is_gone() -> None:
    mine = process_memory(os.getpid())
    assert mine is not None
    assert 1_000_000 < mine.private < mine.pss * 10
    assert process_memory(1 << 30) is None


def test_this_machine() -> None:
    found = machine_memory()
    assert 0 < found.available <= found.total
