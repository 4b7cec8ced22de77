"""`python -m exporter` is the same as the command `qsticky`."""

import sys


def main() -> int:
    """Run the command; the health check, which must start in an instant, on its own."""
    if sys.argv[1:] == ["healthcheck"]:
        from exporter.healthcheck import main as check_health

        return check_health()
    import logging

    from exporter.cli import main as run_command

    logging.raiseExceptions = False  # with nobody left who reads it, a traceback for each line
    return run_command()


if __name__ == "__main__":
    sys.exit(main())
