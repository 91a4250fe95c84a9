"""docker-compose.yml for a machine whose container networks are of no use: every service on the host's own network.

    python on_host_network.py FOLDER GRPC_PORT HTTP_PORT PROMETHEUS_PORT   writes FOLDER/compose.yml

Nothing is published then and names of services do not resolve, so the services listen on the given ports of loopback
themselves, and Prometheus is told so.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def main() -> None:
    folder, grpc_port, http_port, prometheus_port = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    zoo, prometheus = compose["services"]["zoo"], compose["services"]["prometheus"]
    for service in (zoo, prometheus):
        del service["ports"]
        service["network_mode"] = "host"
    zoo["build"] |= {"context": str(ROOT), "network": "host"}
    zoo["environment"] |= {"ZOO_HOST": "127.0.0.1", "ZOO_PORT": grpc_port, "ZOO_HTTP_PORT": http_port}

    scrape = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
    config = folder / "prometheus.yml"
    config.write_text(
        scrape.replace("zoo:8002", f"127.0.0.1:{http_port}").replace("localhost:9090", f"127.0.0.1:{prometheus_port}")
    )
    config.chmod(0o644)
    prometheus["volumes"][0] = f"{config}:/etc/prometheus/prometheus.yml:ro"
    prometheus["volumes"][1] = f"{ROOT}/deploy/prometheus/rules:/etc/prometheus/rules:ro"
    prometheus["command"] = [
        "--config.file=/etc/prometheus/prometheus.yml",
        "--storage.tsdb.path=/prometheus",
        f"--web.listen-address=127.0.0.1:{prometheus_port}",
    ]
    (folder / "compose.yml").write_text(yaml.safe_dump(compose, sort_keys=False))


if __name__ == "__main__":
    main()
