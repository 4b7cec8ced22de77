"""The command line. Heavy modules are imported by the command that needs them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter import __version__
from exporter.errors import QstickyError

if TYPE_CHECKING:
    import argparse

    from exporter.check import Line
    from exporter.config.load import Config

NOT_IN_SYNC = 3

_DESCRIPTION = """\
Keeps qBittorrent's listening port equal to the port that Gluetun's VPN forwards.
"""
_EPILOG = """\
Everything is set by environment variables; `qsticky config` prints them all, with the
values in force and where each comes from. The most important ones:

  GLUETUN_HOST, GLUETUN_PORT        Gluetun's control server (gluetun, 8000)
  GLUETUN_APIKEY                    its API key, or GLUETUN_AUTH_TYPE=basic or none
  QBITTORRENT_HOST, QBITTORRENT_PORT, QBITTORRENT_USER, QBITTORRENT_PASS
                                    qBittorrent's Web UI (gluetun, 8080, admin, adminadmin)
  CHECK_INTERVAL                    seconds between two checks (30)

Exit codes: 0 all well, 1 an error (healthcheck: unhealthy), 2 a mistake in the configuration
or the command line, 3 not in sync (once) or something wrong (check, notify).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a ✓ where the locale has none, or a name that is not UTF-8, must not end the program
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _options(sys.argv[1:] if arguments is None else arguments)
    command = options.pop("command")
    try:
        code: int = command(**options)
        sys.stdout.flush()
    except QstickyError as error:
        if command not in (run, once) or not _logged_as_json(error):
            print(f"qsticky: {error.message}", file=sys.stderr)
            if error.fix:
                print(f"qsticky: {error.fix}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # of `qsticky config | head`
        # Python flushes once more at its end, and would complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _options(arguments: Sequence[str]) -> dict[str, Any]:
    if list(arguments) in ([], ["run"]):
        # the daemon would keep the parser's 1 MB for as long as it runs
        return {"command": run}
    return vars(_parser().parse_args(arguments))


def _logged_as_json(error: QstickyError) -> bool:
    from exporter.config.load import log_format
    from exporter.report import log

    if log_format(os.environ) != "json":
        return False
    log.set_up("ERROR", "json")
    log.logger.error("%s - %s", error.message, error.fix)
    return True


def _parser() -> argparse.ArgumentParser:
    import argparse

    parser = argparse.ArgumentParser(
        prog="qsticky",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"qsticky {__version__}")
    parser.set_defaults(command=run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, command, text in (
        ("run", run, "run until stopped (the default)"),
        ("once", once, "run one check; exit 0 when in sync, 3 when not"),
        (
            "check",
            check,
            "try everything once and say what is wrong; exit 0 when all is well, else 3",
        ),
        (
            "healthcheck",
            healthcheck,
            "print whether status.json, by the daemon or by `once`, is fresh and healthy",
        ),
        ("notify", notify, "send a test notification and say what each service answered"),
        ("config", config, "print the configuration in force and where each value comes from"),
        ("demo", demo, "show it at work on a simulated Gluetun and qBittorrent"),
        ("version", version, "print the version"),
    ):
        description = f"{text[0].upper()}{text[1:]}."
        subparser = commands.add_parser(name, help=text, description=description)
        subparser.set_defaults(command=command)
        if command is config:
            help_text = "check a YAML file with tunnels instead, as it would be read here"
            subparser.add_argument("--check", metavar="FILE", type=_readable, help=help_text)
    return parser


def _readable(file: str) -> str:
    import argparse

    try:
        with Path(file).open("rb"):
            return file
    except OSError as error:
        raise argparse.ArgumentTypeError(f"can't read {file!r}: {error.strerror}") from error


def run() -> int:
    """Run the daemon until it is stopped."""
    from exporter.clock import Clock
    from exporter.daemon.service import Service

    service = Service(_configuration(), Clock(), load=_load)
    service.start()
    if service.run():
        # a worker still hangs in a request, and Python would wait for it
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def once() -> int:
    """Run one check of each tunnel."""
    from exporter.clock import Clock
    from exporter.daemon.service import run_once

    return 0 if run_once(_configuration(), Clock()) else NOT_IN_SYNC


def check() -> int:
    """Try everything once, a line each; change nothing."""
    from exporter.check import run_check
    from exporter.clock import Clock

    return _printed(run_check(_load(), Clock()))


def _printed(lines: Iterable[Line]) -> int:
    all_well = True
    for line in lines:
        print(line, flush=True)
        all_well = all_well and line.ok
    return 0 if all_well else NOT_IN_SYNC


def notify() -> int:
    """Send a test message to every service of NOTIFY_URLS, a line each."""
    from exporter.check import notification_lines
    from exporter.errors import ConfigError
    from exporter.report.notices import TEST

    settings = _load()
    if not settings.notify.urls.value:
        raise ConfigError(["NOTIFY_URLS: not set; expected URLs of Apprise"])
    return _printed(notification_lines(settings, TEST))


def _load() -> Config:
    from exporter.config.load import load_config

    return load_config(os.environ)


def _configuration() -> Config:
    from exporter.report import log

    settings = _load()
    log.set_up(settings.log_level, settings.log_format)
    return settings


def healthcheck() -> int:
    """Print the verdict on status.json."""
    from exporter.healthcheck import main as check_health

    return check_health()


def config(check: str | None = None) -> int:
    """Print the effective configuration, or check a file."""
    from exporter.config.load import load_config

    if check is not None:
        return check_file(check)
    settings = load_config(os.environ)
    values = settings.values
    width = max(len(value.name) for value in values)
    shown_width = max(len(value.shown) for value in values)
    for value in values:
        print(f"{value.name:<{width}}  {value.shown:<{shown_width}}  {value.source}")
    _warn(settings)
    if settings.notify.urls.value:
        from exporter.check import notification_lines

        for line in notification_lines(settings):
            if not line.ok:
                print(f"warning: {line.text} - {line.fix}")
    return 0


def check_file(file: str) -> int:
    """Check a YAML file with tunnels; what it leaves out comes from the environment."""
    from exporter.config.load import load_config

    settings = load_config({**os.environ, "QSTICKY_CONFIG": file})
    _warn(settings)
    count = len(settings.tunnels)
    print(f"{file}: {count} tunnel{'' if count == 1 else 's'}, no mistakes")
    return 0


def _warn(settings: Config) -> None:
    for warning in settings.warnings:
        print(f"warning: {warning}")


def demo() -> int:
    """Run the daemon against simulated servers."""
    from exporter.simulator.demo import run_demo

    run_demo()
    return 0


def version() -> int:
    """Print the version."""
    print(f"qsticky {__version__}")
    return 0
