"""How each command of the documentation is run by test_documented_commands.py."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Shows:
    """The command is run as it stands, and its output holds the text."""

    text: str = ""


@dataclass(frozen=True)
class Makes:
    """The command is run as it stands, and the file is there then and holds the text."""

    file: str
    text: str = ""


@dataclass(frozen=True)
class Reloads:
    """The command is run as it stands, and qSticky loads its configuration again."""


@dataclass(frozen=True)
class Says:
    """The command of qSticky is run until it says the text, and is stopped by Ctrl-C then."""

    text: str


@dataclass(frozen=True)
class Target:
    """A target of the Makefile: make knows it and its options, but does not run it here."""


@dataclass(frozen=True)
class Instead:
    """Another command is run, for the reason given."""

    command: str
    because: str
    text: str = ""


Row = Shows | Makes | Reloads | Says | Target | Instead

_SYSTEMD = (
    "it needs a machine that systemd started; tests/real/test_systemd.py lets it read the unit"
)
_MINUTES = "it takes minutes"

COMMANDS: dict[str, Row] = {
    # the Makefile
    "make": Shows("make demo"),
    "make audit": Target(),
    "make bench": Target(),
    "make bench ARGS=--docs": Target(),
    "make demo": Target(),
    "make docs": Target(),
    "make format": Target(),
    "make image": Target(),
    "make lint": Target(),
    "make lint test": Target(),
    "make mutants": Target(),
    "make sbom": Target(),
    "make test": Target(),
    # qSticky itself
    "qsticky check": Shows("✓"),
    "qsticky completion": Instead("qsticky completion --help", "the page names the shell later on"),
    "qsticky completion bash > ~/.local/share/bash-completion/completions/qsticky": Makes(
        ".local/share/bash-completion/completions/qsticky", "complete -o bashdefault"
    ),
    "qsticky config": Shows("CHECK_INTERVAL"),
    "qsticky config --check FILE": Instead(
        "qsticky config --check qsticky.yaml", "FILE is for a name", "no mistakes"
    ),
    "qsticky config --check qsticky.yaml": Shows("qsticky.yaml: 1 tunnel, no mistakes"),
    "qsticky demo": Says("Initial status - Gluetun: ✓, qBit: ✓, Port: 45720"),
    "qsticky healthcheck": Shows("healthy: in_sync"),
    "qsticky once": Shows("Initial status - Gluetun: ✓, qBit: ✓"),
    'eval "$(qsticky completion zsh)"': Instead(
        "qsticky completion zsh",
        "tests/unit/test_completion.py lets a zsh do it",
        "#compdef qsticky",
    ),
    "mkdir -p ~/.local/share/bash-completion/completions": Makes(
        ".local/share/bash-completion/completions"
    ),
    # what it serves
    "curl -s http://localhost:9809/metrics | grep qsticky_port_in_sync": Shows(
        'qsticky_port_in_sync{tunnel="default"} 1.0'
    ),
    'curl -s http://HOST:9809/metrics | grep -E "forwarded_port|listen_port"': Shows(
        'qsticky_qbittorrent_listen_port{tunnel="default"}'
    ),
    "curl -s http://HOST:9809/metrics | grep last_attempt": Shows(
        'qsticky_sync_last_attempt_timestamp_seconds{tunnel="default"} 1'
    ),
    'curl -s http://HOST:9809/metrics | grep operation_failures | grep -v " 0.0"': Shows(
        "# HELP qsticky_operation_failures_total"
    ),
    "curl -sS http://HOST:9809/-/healthy": Shows("healthy"),
    "wget -qO- --post-data= http://HOST:9809/-/reload": Reloads(),
    # its container, and those of the other two
    "docker compose --profile monitoring restart prometheus": Shows(),
    "docker compose --profile monitoring up --detach": Shows(),
    "docker compose logs qbittorrent": Shows(),
    "docker compose restart qsticky": Shows(),
    "docker compose up --detach": Shows(),
    "docker compose up -d --force-recreate qbittorrent": Shows(),
    "docker exec gluetun netstat -lnt | grep PORT": Shows("PORT"),
    "docker exec qbittorrent df -h /config": Shows(),
    "docker exec qsticky qsticky check": Shows("✓"),
    "docker exec qsticky qsticky config": Shows("QSTICKY_CONFIG"),
    (
        "docker exec qsticky qsticky healthcheck "
        "&& curl -fsS -o /dev/null https://hc-ping.com/YOUR_ID"
    ): Shows("healthy: in_sync"),
    "docker inspect": Instead("docker inspect qsticky", "the sentence needs no name"),
    (
        "docker inspect qsticky "
        "--format '{{.RestartCount}} {{.State.ExitCode}} {{.State.OOMKilled}}'"
    ): Shows(),
    "docker kill --signal HUP qsticky": Reloads(),
    "docker kill --signal=HUP qsticky": Reloads(),
    "docker logs --since 1h gluetun": Shows("port forward"),
    'docker logs --since 1h qsticky 2>&1 | grep "left port"': Shows("it is set again"),
    'docker logs --since 1h qsticky 2>&1 | grep "port changed"': Shows("->"),
    "docker logs --since 40m gluetun": Shows("port forward"),
    'docker logs --since 40m qsticky 2>&1 | grep -E "WARNING|ERROR"': Shows("WARNING"),
    'docker logs gluetun 2>&1 | grep -i "port forward" | tail': Shows("port forward"),
    "docker logs qbittorrent": Shows(),
    "docker logs qsticky": Shows("INFO"),
    "docker logs qsticky > qsticky.log": Makes("qsticky.log", "INFO"),
    "docker logs qsticky 2>&1 | grep -B5 Traceback": Shows("Traceback"),
    "docker logs qsticky 2>&1 | grep config.toml": Shows('"GET /v1/portforward"'),
    "docker logs qsticky 2>&1 | grep status.json | tail -1": Shows("can't write the status file"),
    "docker logs --tail 5 qsticky": Shows("INFO"),
    "docker logs --tail 20 qsticky": Shows("INFO"),
    "docker logs --tail 30 qsticky": Shows("INFO"),
    "docker logs --tail 50 gluetun": Shows("port forward"),
    "docker ps": Shows(),
    "docker ps -a --filter name=gluetun": Shows(),
    "docker ps -a --filter name=qbittorrent": Shows(),
    "docker ps -a --filter name=qsticky": Shows(),
    "docker restart gluetun": Shows(),
    "docker restart qbittorrent": Shows(),
    "docker restart qsticky": Shows(),
    # Gluetun, Alertmanager, Kubernetes
    (
        'curl -H "X-API-Key: YOUR_API_KEY" -X PUT -d \'{"status":"running"}\' '
        "http://HOST:8000/v1/vpn/status"
    ): Shows("running"),
    (
        "amtool --alertmanager.url http://HOST:9093 silence add 'alertname=~\"QSticky.+\"' "
        '--duration 2h --comment "moving the NAS"'
    ): Shows("-"),
    "kubectl create namespace seedbox": Shows("namespace/seedbox"),
    (
        "kubectl --namespace seedbox create secret generic seedbox "
        "--from-literal=wireguard_private_key=YOUR_KEY --from-literal=gluetun_apikey=YOUR_API_KEY "
        "--from-literal=qbittorrent_pass=YOUR_PASSWORD --from-file=gluetun_config_toml=config.toml"
    ): Shows("secret/seedbox"),
    "kubectl apply -k deploy/kubernetes/base": Instead(
        "kubectl kustomize deploy/kubernetes/base",
        "there is no cluster; tests/unit/test_kubernetes.py checks what is built",
        "kind: StatefulSet",
    ),
    # the files of compose.yaml
    "cp .env.example .env": Makes(".env", "VPN_SERVICE_PROVIDER="),
    "mkdir -m 700 secrets": Makes("secrets"),
    "printf '%s' 'YOUR KEY' > secrets/wireguard_private_key": Makes(
        "secrets/wireguard_private_key", "YOUR KEY"
    ),
    "printf '%s' 'YOUR PASSWORD' > secrets/qbittorrent_pass": Makes(
        "secrets/qbittorrent_pass", "YOUR PASSWORD"
    ),
    "openssl rand -hex 16 | tr -d '\\n' > secrets/gluetun_apikey": Makes("secrets/gluetun_apikey"),
    (
        'sed "s/YOUR_API_KEY/$(cat secrets/gluetun_apikey)/" deploy/gluetun/config.toml '
        "> secrets/gluetun_config.toml"
    ): Makes("secrets/gluetun_config.toml", "[[roles]]"),
    "id -u": Shows(str(os.getuid())),
    "id -g": Shows(str(os.getgid())),
    # without Docker
    "pipx install qsticky": Instead(
        "true", "tests/real/test_package.py installs the wheel into an empty environment"
    ),
    "sudo python3 -m venv /opt/qsticky": Makes("opt/qsticky/bin/pip"),
    "sudo /opt/qsticky/bin/pip install qsticky": Instead(
        "sudo /opt/qsticky/bin/pip install --help",
        "tests/real/test_package.py installs the wheel into an empty environment",
        "install [options]",
    ),
    "sudo /opt/qsticky/bin/pip install --upgrade qsticky": Instead(
        "sudo /opt/qsticky/bin/pip install --upgrade --help", "the same", "install [options]"
    ),
    "sudo ln -s /opt/qsticky/bin/qsticky /usr/local/bin/qsticky": Instead(
        "sudo ln -s /opt/qsticky/bin/qsticky /usr/local/bin/qsticky "
        "&& readlink /usr/local/bin/qsticky",
        "nothing was installed, so the link leads nowhere here",
        "/opt/qsticky/bin/qsticky",
    ),
    "sudo install -d /etc/qsticky": Makes("etc/qsticky"),
    "sudo install -m 600 /dev/stdin /etc/qsticky/gluetun_apikey": Makes(
        "etc/qsticky/gluetun_apikey", "typed"
    ),
    "sudo install -m 600 /dev/stdin /etc/qsticky/qbittorrent_pass": Makes(
        "etc/qsticky/qbittorrent_pass", "typed"
    ),
    "sudo install -m 644 deploy/systemd/qsticky.service /etc/systemd/system/": Makes(
        "etc/systemd/system/qsticky.service", "[Unit]"
    ),
    "sudo systemctl daemon-reload": Instead("true", _SYSTEMD),
    "sudo systemctl enable --now qsticky": Instead("true", _SYSTEMD),
    "sudo systemctl reload qsticky": Instead("true", _SYSTEMD),
    "sudo systemctl restart qsticky": Instead("true", _SYSTEMD),
    "systemctl status qsticky": Instead("true", _SYSTEMD),
    "systemd-analyze security qsticky": Instead("true", _SYSTEMD),
    "journalctl --unit qsticky --follow": Instead("true", _SYSTEMD),
    # the machine
    "chown 1000 FOLDER": Instead("chown $(id -u) .", "only root may give files away"),
    "df -h": Shows("Filesystem"),
    "dmesg | tail": Instead("dmesg --help", "not everybody may read the kernel's log", "Usage"),
    # for those who change qSticky
    "pip install pre-commit && pre-commit install": Instead(
        "true",
        "it would bring a tool for this once; tests/unit/test_documentation.py reads its file",
    ),
    "python -m docs.generate_chain": Instead("python -c 'import docs.generate_chain'", _MINUTES),
    "python -m docs.generate_faults": Instead("python -c 'import docs.generate_faults'", _MINUTES),
}
