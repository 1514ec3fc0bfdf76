from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from colony.config.endpoints import Endpoints, read_endpoints
from colony.config.load import load_config
from colony.messaging.permissions import ROLES
from colony.registry.consul_server import POLICIES
from control.stack.credentials import PASSWORDS, TOKENS
from deploy.compose.prepare import consul_file, nats_configuration
from ray_app.gateway.plan import gateway_plan
from tests.servers.consul import consul_binary

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "deploy" / "compose"
VARIABLE = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")
SCRIPTS = sorted(COMPOSE.glob("*.sh"))
LONG_RUNNING = {
    "postgres",
    "temporal",
    "temporal-ui",
    "nats",
    "consul",
    "ray-head",
    "ray-worker",
    "worker",
    "dispatcher",
    "api",
    "jaeger",
    *(OLLAMA := {"ollama", "ollama-2", "ollama-3"}),
    *(VLLM := {"vllm", "vllm-2", "vllm-3"}),
}
JOBS = {"prepare", "ledger-migrate", "temporal-schema", "temporal-namespace", "consul-acl", "ollama-pull", "cli"}


def example_variables() -> dict[str, str]:
    lines = (COMPOSE / ".env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def load(variables: dict[str, str]) -> dict[str, Any]:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    return yaml.safe_load(VARIABLE.sub(lambda found: variables.get(found[1]) or found[2], text))


COMPOSED = load({})
SERVICES: dict[str, dict[str, Any]] = COMPOSED["services"]


def test_it_is_a_compose_file() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.validate(COMPOSED, schema)
    jsonschema.validate(load(example_variables()), schema)
    assert "version" not in COMPOSED


def test_the_services_are_those_of_the_design() -> None:
    assert set(SERVICES) == LONG_RUNNING | JOBS


def test_variables_have_defaults_and_stand_in_the_example_with_the_same_value() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert text.count("${") == len(VARIABLE.findall(text)), "a variable has no default"
    defaults = dict(VARIABLE.findall(text))
    example = example_variables()
    assert {name: example[name] for name in example if name in defaults} == {
        name: defaults[name] for name in example if name in defaults
    }
    assert set(example) <= set(defaults), "the example names a variable that nothing reads"


@pytest.mark.parametrize("name", sorted(SERVICES))
class TestEveryService:
    def test_image_is_pinned(self, name: str) -> None:
        tag = SERVICES[name]["image"].rpartition(":")[2]
        assert re.search(r"\d+\.\d+", tag), tag

    def test_is_published_on_loopback_only(self, name: str) -> None:
        for port in SERVICES[name].get("ports", []):
            assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
        assert SERVICES[name].get("network_mode") in (None, "none")

    def test_has_limits_and_gains_no_privileges(self, name: str) -> None:
        assert set(SERVICES[name]["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
        assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in SERVICES[name]
        assert SERVICES[name]["logging"]["options"]["max-size"]

    def test_restarts_and_has_a_check_if_it_is_to_stay(self, name: str) -> None:
        if name in LONG_RUNNING:
            assert SERVICES[name]["restart"] == "unless-stopped"
            assert {"test", "interval", "timeout", "retries", "start_period"} == set(SERVICES[name]["healthcheck"])
        else:
            assert SERVICES[name]["restart"] == "no" or SERVICES[name]["restart"].startswith("on-failure:")

    def test_has_no_secret_in_its_environment(self, name: str) -> None:
        for key, value in SERVICES[name].get("environment", {}).items():
            if re.search(r"PASSW|PWD|TOKEN|SECRET|KEY(?!_FILE)|CREDENTIAL", key):
                assert key.endswith(("_FILE", "_PATH")), key
                assert value.startswith("/run/secrets/")
        assert "env_file" not in SERVICES[name]

    def test_secrets_are_files_that_make_secrets_makes(self, name: str) -> None:
        for secret in SERVICES[name].get("secrets", []):
            assert COMPOSED["secrets"][secret] == {"file": f"deploy/compose/secrets/{secret}"}
            assert secret in {*PASSWORDS, *TOKENS, "consul-gossip"}

    def test_files_it_mounts_are_there(self, name: str) -> None:
        for mount in SERVICES[name].get("volumes", []):
            source, target, *_ = mount.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert mount.endswith(":ro")
            else:
                assert source in COMPOSED["volumes"]

    def test_modules_it_runs_are_there(self, name: str) -> None:
        command = SERVICES[name].get("command", [])
        if command[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(command[2]) is not None
        check = SERVICES[name].get("healthcheck", {}).get("test", [])
        if check[1:3] == ["python", "-m"]:
            assert importlib.util.find_spec(check[3]) is not None

    def test_waits_for_what_it_needs_in_the_right_way(self, name: str) -> None:
        for needed, how in SERVICES[name].get("depends_on", {}).items():
            expected = "service_healthy" if needed in LONG_RUNNING else "service_completed_successfully"
            assert how["condition"] == expected, needed
            missing = set(SERVICES[needed].get("profiles", [])) - set(SERVICES[name].get("profiles", []))
            assert not missing, f"{needed} is not there without its profile"


def test_traces_are_off_and_go_to_the_collector_of_the_profile() -> None:
    environment = SERVICES["worker"]["environment"]
    assert environment["COLONY_TELEMETRY__ENABLED"] in (False, "false")
    assert environment["COLONY_TELEMETRY__ENDPOINT"] == "http://jaeger:4318"
    assert SERVICES["jaeger"]["profiles"] == ["telemetry"]
    assert all("4318" not in port for service in SERVICES.values() for port in service.get("ports", []))


def test_nobody_waits_for_oneself() -> None:
    def above(name: str, path: tuple[str, ...]) -> Iterator[str]:
        assert name not in path, " -> ".join((*path, name))
        for needed in SERVICES[name].get("depends_on", {}):
            yield needed
            yield from above(needed, (*path, name))

    waits = {name: set(above(name, ())) for name in SERVICES}
    assert waits["dispatcher"] >= {"postgres", "temporal", "nats", "consul", "ray-head", "prepare"}
    assert waits["worker"] >= {"postgres", "temporal", "nats"}


def test_only_the_job_without_a_network_is_root() -> None:
    roots = {name for name, service in SERVICES.items() if service.get("user", "").startswith("0")}
    assert roots == {"prepare"}
    assert SERVICES["prepare"]["network_mode"] == "none"


def test_hosts_run_on_ray_workers_only() -> None:
    refused = "--labels=colony-hosts=refused"
    assert refused in SERVICES["ray-head"]["command"]
    assert refused in (COMPOSE / "dispatcher-start.sh").read_text()
    assert refused not in SERVICES["ray-worker"]["command"]


@pytest.mark.parametrize(("replicas", "profile"), [(OLLAMA, "ollama"), (VLLM, "vllm")])
def test_replicas_of_a_model_server_are_alike(replicas: set[str], profile: str) -> None:
    first, *others = (
        {key: value for key, value in SERVICES[name].items() if key != "ports"} for name in sorted(replicas)
    )
    assert all(other == first for other in others)
    assert first["profiles"] == ["llm", profile]
    assert [name for name in sorted(replicas) if "ports" in SERVICES[name]] == [profile]


PROFILES = [("ollama", {"ollama"}), ("vllm", {"vllm"}), ("llm", {"ollama", "vllm"})]


@pytest.mark.parametrize(("profile", "kinds"), PROFILES)
def test_the_profile_has_a_configuration_with_its_replicas_behind_the_gateway(profile: str, kinds: set[str]) -> None:
    name = f"deploy/compose/agent_config.{profile}.yaml"
    plan = gateway_plan(load_config(ROOT / name, environment={}).config)
    assert {config.kind for config in plan.backends.values()} == kinds
    started = {name for name, service in SERVICES.items() if profile in service.get("profiles", [])} - {"ollama-pull"}
    hosts = [url.partition("://")[2] for config in plan.backends.values() for url in config.urls]
    ports = {"ollama": "11434", "vllm": "8000"}
    assert sorted(hosts) == sorted(f"{host}:{ports[host.partition('-')[0]]}" for host in started)
    assert all({choice.backend for choice in choices} <= plan.backends.keys() for choices in plan.tiers.values())
    parallel = SERVICES["ollama"]["environment"]["OLLAMA_NUM_PARALLEL"]
    assert all(config.slots == int(parallel) for config in plan.backends.values() if config.kind == "ollama")
    chosen = load({"COLONY_CONFIG": name})["services"]
    for service in ("dispatcher", "ray-head", "ray-worker", "worker", "api"):
        assert f"./{name}:/etc/colony/agent_config.yaml:ro" in chosen[service]["volumes"]
    guide = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    assert f"`{name}`" in guide


def test_without_a_word_the_configuration_of_the_repository_is_used() -> None:
    assert "./agent_config.yaml:/etc/colony/agent_config.yaml:ro" in SERVICES["dispatcher"]["volumes"]


def test_every_node_of_ray_can_run_a_replica_of_the_gateway() -> None:
    nodes = {name for name in SERVICES if "ray-token" in secrets_of(name)}
    assert nodes == {"ray-head", "ray-worker", "dispatcher"}
    for name in nodes:
        assert {"gateway-key", "postgres-colony"} <= set(secrets_of(name)), name


def test_published_ports_differ() -> None:
    ports = [port.split(":")[1] for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == len(set(ports))


@pytest.mark.parametrize("file", sorted(COMPOSE.glob("endpoints*.json")), ids=lambda file: file.stem)
def test_addresses_of_the_containers_fit_the_services(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "endpoints.json")
    endpoints = read_endpoints(tmp_path)
    assert isinstance(endpoints, Endpoints)
    assert endpoints.gateway is not None
    urls = [endpoints.nats.url, endpoints.registry.address, endpoints.gateway.url]
    assert endpoints.gateway.key_file == "/run/secrets/gateway-key"
    assert endpoints.gateway.host == "0.0.0.0"
    assert SERVICES["ray-head"]["ports"][1].endswith(f":{endpoints.gateway.proxy}")
    places = [f"{endpoints.postgres.host}:{endpoints.postgres.port}", endpoints.temporal.address, endpoints.ray.address]
    for place in [*places, *(url.partition("://")[2] for url in urls if url)]:
        assert place.partition(":")[0] in SERVICES, place
    assert endpoints.home == SERVICES["worker"]["environment"]["COLONY_HOME"]
    assert endpoints.postgres.password_file == "/run/secrets/postgres-colony"


def test_processes_get_the_credentials_of_their_role_and_no_other() -> None:
    assert set(SERVICES["worker"]["secrets"]) == {"postgres-colony", "nats-worker"}
    assert set(SERVICES["cli"]["secrets"]) == {"postgres-colony", "nats-client", "consul-client", "gateway-key"}
    assert "postgres-admin" not in {s for name in JOBS | LONG_RUNNING - {"postgres"} for s in secrets_of(name)}
    assert [name for name in SERVICES if "consul-management" in secrets_of(name)] == ["prepare", "consul-acl"]


def secrets_of(name: str) -> list[str]:
    return SERVICES[name].get("secrets", [])


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_secrets(tmp_path_factory.mktemp("made"))


def made_secrets(folder: Path) -> Path:
    environment = {**os.environ, "COLONY_SECRETS": str(folder / "secrets"), "COLONY_ENV_FILE": str(folder / ".env")}
    done = subprocess.run(
        ["sh", str(COMPOSE / "make-secrets.sh")],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    for file in (folder / "secrets").iterdir():
        assert file.read_text() not in done.stdout + done.stderr
    return folder / "secrets"


def test_make_secrets_makes_what_a_stack_needs_and_never_replaces(secrets: Path) -> None:
    expected = {*PASSWORDS, *TOKENS, "consul-gossip"}
    made = {file.name: file.read_text() for file in secrets.iterdir()}
    assert set(made) == expected
    assert len(set(made.values())) == len(expected)
    assert all(len(value) >= 36 for value in made.values())
    assert all(str(uuid.UUID(made[name])) == made[name] for name in TOKENS)
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets.iterdir()} == {0o600}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {file.name: file.read_text() for file in made_secrets(secrets.parent).iterdir()} == made


def test_make_secrets_writes_who_may_read_them(secrets: Path) -> None:
    written = dict(re.findall(r"^(\w+)=(.*)$", (secrets.parent / ".env").read_text(), re.MULTILINE))
    assert int(written["COLONY_UID"]) == (secrets / "ray-token").stat().st_uid
    assert written["COLONY_UID"] != "0"
    assert set(written) == set(example_variables())


def test_nats_takes_its_configuration(secrets: Path, tmp_path: Path) -> None:
    file = tmp_path / "nats.conf"
    file.write_text(nats_configuration(secrets, tmp_path / "store"))
    binary = Path(sys.executable).parent / "nats-server"
    done = subprocess.run([binary, "-t", "-c", file], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "is valid" in done.stderr + done.stdout
    assert {f"nats-{role}" for role in ROLES} <= set(SERVICES["prepare"]["secrets"])


def test_consul_takes_its_configuration(secrets: Path, tmp_path: Path) -> None:
    file = tmp_path / "consul.json"
    (tmp_path / "data").mkdir()
    file.write_text(consul_file(secrets, tmp_path / "data"))
    done = subprocess.run(
        [consul_binary(), "validate", "-quiet", file], check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert {f"consul-{role}" for role in POLICIES} <= set(SERVICES["consul-acl"]["secrets"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_parse_and_stop_at_the_first_error(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True, timeout=10)
    assert "\nset -eu\n" in script.read_text()
    assert os.access(script, os.X_OK)


class TestImage:
    TEXT = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")

    def test_is_pinned_built_from_the_lock_file_and_not_root(self) -> None:
        stages = self.TEXT.split("\nFROM ")[1:]
        assert len(stages) == 2
        assert re.search(r"ARG PYTHON_VERSION=3\.11\.\d+", self.TEXT)
        assert "uv sync --frozen --no-dev" in stages[0]
        assert re.search(r"uv==\d+\.\d+\.\d+", stages[0])
        assert re.findall(r"^USER (.*)$", stages[1], re.MULTILINE) == ["1000:1000"]

    def test_holds_what_the_processes_need_and_no_secret(self) -> None:
        copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", self.TEXT, re.MULTILINE))
        names = {name for line in copied for name in line.split()}
        assert all((ROOT / name).exists() for name in names)
        assert {"colony", "agents", "ray_app", "workflows", "control", "deploy/compose"} <= names
        ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
        assert ignored[0] == "*"
        assert {line[1:] for line in ignored if line.startswith("!")} == names
        assert ignored.index("deploy/compose/secrets") > ignored.index("!deploy/compose")
