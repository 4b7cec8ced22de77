"""`python -m exporter` is the same as the command `qsticky`."""

import sys


def main() -> int:
    """Run the command; the health check, which must start in an instant, on its own."""
    if sys.argv[1:] == ["healthcheck"]:
        from exporter.healthcheck import main as check_health

        return check_health()
    from exporter.cli import main as run_command

    return run_command()


if __name__ == "__main__":
    sys.exit(main())
