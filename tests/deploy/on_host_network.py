"""The compose files for a machine whose container networks are of no use: every service on the host's own network.

    python on_host_network.py FOLDER GRPC HTTP PROMETHEUS ALERTMANAGER POSTGRES GRAFANA

Writes FOLDER/docker-compose.yml and FOLDER/docker-compose.secured.yml. Nothing is published then, so the services listen on
the given ports of loopback themselves, and all that names a service with its port is told so. Names of services are names of
loopback.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILES = ("docker-compose.yml", "docker-compose.secured.yml")
NAMES = ("zoo", "postgres", "prometheus", "alertmanager", "grafana")


def main() -> None:
    folder = Path(sys.argv[1])
    grpc, http, prometheus, alertmanager, postgres, grafana = map(int, sys.argv[2:8])
    addresses = {
        "zoo:8002": f"zoo:{http}",
        "localhost:9090": f"localhost:{prometheus}",
        "prometheus:9090": f"prometheus:{prometheus}",
        "localhost:9093": f"localhost:{alertmanager}",
        "alertmanager:9093": f"alertmanager:{alertmanager}",
        "localhost:3000": f"localhost:{grafana}",
        "@postgres/": f"@postgres:{postgres}/",
    }

    def moved(text: str) -> str:
        for old, new in addresses.items():
            text = text.replace(old, new)
        return text

    def mounted(source: str) -> str:
        """A file or folder of the repository, with the addresses of here."""
        found = ROOT / source
        files = [path for path in found.rglob("*") if path.is_file()] if found.is_dir() else [found]
        for file in files:
            copy = folder / "mounted" / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(moved(file.read_text()))
            copy.chmod(0o644)
        return str(folder / "mounted" / found.relative_to(ROOT))

    for name in FILES:
        compose: dict[str, Any] = yaml.safe_load(moved((ROOT / name).read_text()))
        compose.pop("networks", None)
        for parts in compose["services"].values():
            parts.pop("ports", None)
            parts.pop("networks", None)
            if "image" in parts and "network_mode" not in parts:
                parts |= {"network_mode": "host", "extra_hosts": [f"{one}:127.0.0.1" for one in NAMES]}
            if "build" in parts:
                parts["build"] = {**parts["build"], "context": str(ROOT), "network": "host"}
            for index, volume in enumerate(parts.get("volumes", ())):
                if volume.startswith("./"):
                    source, _, rest = volume.partition(":")
                    parts["volumes"][index] = f"{mounted(source)}:{rest}"
        if name == FILES[0]:
            services = compose["services"]
            services["zoo"]["environment"] |= {"ZOO_HOST": "127.0.0.1", "ZOO_PORT": grpc, "ZOO_HTTP_PORT": http}
            services["postgres"]["environment"] |= {"PGPORT": postgres}
            services["postgres"]["command"] = ["postgres", "-c", "listen_addresses=127.0.0.1"]
            services["prometheus"]["command"] += [f"--web.listen-address=127.0.0.1:{prometheus}"]
            services["alertmanager"]["command"] += [f"--web.listen-address=127.0.0.1:{alertmanager}"]
            services["grafana"]["environment"] |= {"GF_SERVER_HTTP_ADDR": "127.0.0.1", "GF_SERVER_HTTP_PORT": grafana}
        (folder / name).write_text(yaml.safe_dump(compose, sort_keys=False))


if __name__ == "__main__":
    main()
