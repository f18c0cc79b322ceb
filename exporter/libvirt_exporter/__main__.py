"""Where `libvirt-exporter` and `python -m libvirt_exporter` begin."""

import signal
import sys


def main() -> int:
    """Run the command; signals wait until its modules, half a second's work, are loaded."""
    if sys.argv[1:] == ["--version"]:
        from libvirt_exporter.commands.version import version

        print(version())
        return 0
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    from libvirt_exporter.commands.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
