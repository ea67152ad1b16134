"""``python -m mcutrain``, and the program ``mcutrain``."""

from __future__ import annotations

from mcutrain import interrupt, streams


def main() -> None:
    """Answer signals, and only then import and run the tool: that takes a while, and a user may think again."""
    streams.prepare()
    interrupt.install()
    from mcutrain import cli

    cli.run_process()


if __name__ == "__main__":
    main()
