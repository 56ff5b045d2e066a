#!/usr/bin/env python3
"""Runs what docker-compose.yml says without Docker, on loopback: Kafka from its jars with the image's own settings, the
ClickHouse engine, and every service of Tidegate with its environment and the image's command; then applies the file that
`api` carries, sends one webhook to `ingest`, and asks `api` what became of it. Hosts, ports and folders are this machine's.

Prometheus, Grafana and the ClickHouse server's own program do not run; instead of the latter, the embedded engine answers.
In: the program `tidegate` (TIDEGATE, else the release build), `make engine`, `make kafka`, PyYAML.
Out: one line a step; 0 when all of it came out as it should.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "by-hand"
TARGET = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
PROGRAM = os.environ.get("TIDEGATE", f"{TARGET}/release/tidegate")
PATIENCE_S = 180
RUNNING: list[tuple[str, subprocess.Popen]] = []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


PORTS = {name: free_port() for name in ["kafka:9092", "kafka:9093", "clickhouse:8123"]}


def services() -> dict:
    written = subprocess.run(["docker-compose", "config"], cwd=ROOT, check=True, capture_output=True, text=True)
    return yaml.safe_load(written.stdout)["services"]


def here(text: str) -> str:
    """What a service of another name, or every interface, is on this machine."""
    for place, port in PORTS.items():
        text = text.replace(place, f"127.0.0.1:{port}")
    return text.replace("0.0.0.0:", "127.0.0.1:")


def start(name: str, command: list[str], environment: dict) -> None:
    log = (FOLDER / f"{name}.log").open("w")
    path = {key: os.environ[key] for key in ["PATH", "HOME", "TIDEGATE_LIBCHDB"] if key in os.environ}
    process = subprocess.Popen(command, cwd=FOLDER, env=path | environment, stdout=log, stderr=log)
    RUNNING.append((name, process))


def wait_for(what: str, test) -> None:
    until = time.monotonic() + PATIENCE_S
    while not test():
        for name, process in RUNNING:
            if process.poll() is not None:
                sys.exit(f"{name} ended with {process.returncode}: {FOLDER / name}.log")
        if time.monotonic() > until:
            sys.exit(f"{what}: not within {PATIENCE_S} s; logs are in {FOLDER}")
        time.sleep(0.2)
    print(what, flush=True)


def answers(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def kafka(environment: dict) -> None:
    """As the image does: KAFKA_A_B=c becomes a.b=c."""
    settings = {key.removeprefix("KAFKA_").lower().replace("_", "."): value for key, value in environment.items()}
    ports = (PORTS["kafka:9092"], PORTS["kafka:9093"])
    settings["listeners"] = "PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}".format(*ports)
    settings["log.dirs"] = str(FOLDER / "kafka")
    file = FOLDER / "kafka.properties"
    file.write_text("".join(f"{key}={here(str(value))}\n" for key, value in settings.items()))
    java = ["java", "-Xmx512m", f"-Dlog4j2.configurationFile={ROOT}/dev/kafka/log4j2.properties"]
    java += ["-cp", f"{os.environ.get('TIDEGATE_KAFKA_JARS', ROOT / 'build' / 'kafka')}/*"]
    storage = java + ["kafka.tools.StorageTool", "format", "--config", str(file), "--cluster-id"]
    subprocess.run([*storage, str(uuid.uuid4())], check=True, capture_output=True)
    start("kafka", [*java, "kafka.Kafka", str(file)], {})


def clickhouse(environment: dict) -> None:
    listen = here("clickhouse:8123")
    command = [PROGRAM, "clickhouse", "--data", str(FOLDER / "clickhouse"), "--listen", listen]
    start("clickhouse", command, {"TIDEGATE_CLICKHOUSE_PASSWORD": environment["CLICKHOUSE_PASSWORD"]})
    wait_for("clickhouse answers", lambda: answers(["curl", "-fs", f"http://{listen}/ping"]))


def environment_of(name: str, service: dict) -> dict:
    """A service's environment, each with addresses of its own; the engine knows the user `default`."""
    environment = {key: here(str(value)) for key, value in service["environment"].items()}
    environment["TIDEGATE_DATA"] = str(FOLDER / name)
    environment["TIDEGATE__SERVER__KEY_FILE"] = str(FOLDER / "keys")
    environment["TIDEGATE__CLICKHOUSE__USER"] = "default"
    for key, port in [("TIDEGATE__ADMIN__LISTEN", 8081), ("TIDEGATE__INGEST__LISTEN", 8080)]:
        PORTS[f"{name}:{port}"] = free_port()
        environment[key] = here(f"{name}:{port}")
    return environment


def command_of_image() -> list[str]:
    said = (ROOT / "deploy" / "Dockerfile").read_text()
    entry, command = (json.loads(re.search(rf"^{word} (.*)$", said, re.M)[1]) for word in ["ENTRYPOINT", "CMD"])
    assert entry[0] == "tidegate", entry
    return [PROGRAM, *entry[1:], *command]


def tidegate(environment: dict, *arguments: str) -> str:
    """As `docker-compose exec` runs it beside a service."""
    path = {"PATH": os.environ["PATH"]}
    ran = subprocess.run([PROGRAM, *arguments], env=path | environment, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        sys.exit(f"tidegate {' '.join(arguments)} ended with {ran.returncode}: {ran.stdout}{ran.stderr}")
    return ran.stdout


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    declared = services()
    kafka(declared["kafka"]["environment"])
    clickhouse(declared["clickhouse"]["environment"])
    wait_for("kafka answers", lambda: socket.socket().connect_ex(("127.0.0.1", PORTS["kafka:9092"])) == 0)
    ours = {name: service for name, service in declared.items() if service.get("image") == "tidegate:latest"}
    environments = {name: environment_of(name, service) for name, service in ours.items()}
    for name in ours:
        start(name, command_of_image(), environments[name])
    for name, service in ours.items():
        probe = [here(part.replace("127.0.0.1:8081", f"{name}:8081")) for part in service["healthcheck"]["test"][1:]]
        wait_for(f"{name} is healthy", lambda probe=probe: answers(probe))
    api = environments["api"]
    applied = tidegate(api, "apply", "--yes", "-f", str(ROOT / "docs" / "tidegate.yaml"))
    url = re.search(r"https?://\S+/github-prod\b", applied)
    if not url:
        sys.exit(f"apply printed no URL for github-prod: {applied}")
    target = f"http://{here('ingest:8080')}/webhook/{url[0].split('/webhook/')[1]}"
    print(tidegate(api, "send", "github", "--secret", api["GITHUB_WEBHOOK_SECRET"], "--to", target), end="")
    question = "SELECT outcome, connection FROM events WHERE integration = 'github-prod'"
    wait_for("api knows what became of it", lambda: "routed" in tidegate(api, "query", question))
    print(tidegate(api, "query", question), end="")
    end(declared)


def end(declared: dict) -> None:
    """Ends the roles in good order, and looks how they ended."""
    for name, process in reversed(RUNNING):
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE_S)
        if name in declared and name != "kafka" and code != 0:
            sys.exit(f"{name} ended with {code}: {FOLDER / name}.log")
    print("every service ended with 0")


if __name__ == "__main__":
    try:
        main()
    finally:
        for _, process in RUNNING:
            process.kill()
