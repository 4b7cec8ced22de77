"""The same exchanges as those of a cycle, done with bare http.client.

Reads one JSON line, the requests; prints the CPU seconds that one round of them takes.
"""

from __future__ import annotations

import http.client
import json
import sys
import time


def main() -> None:
    """Repeat the requests on two connections that stay open."""
    task = json.loads(sys.stdin.readline())
    connections = {
        name: http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        for name, port in task["ports"].items()
    }
    _round(connections, task["requests"])
    cpu = time.process_time()
    for _ in range(task["rounds"]):
        _round(connections, task["requests"])
    print(json.dumps({"cpu": (time.process_time() - cpu) / task["rounds"]}))


def _round(
    connections: dict[str, http.client.HTTPConnection],
    requests: list[tuple[str, str, str, dict[str, str]]],
) -> None:
    for server, method, target, headers in requests:
        connections[server].request(method, target, headers=headers)
        answer = connections[server].getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"{method} {target} answered {answer.status}")


if __name__ == "__main__":
    main()
