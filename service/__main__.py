"""`python -m service`: the same as `agent-spy`."""

from events.collector import uncollected


def run() -> None:
    """Run the command that the command line asks for."""
    with uncollected():
        from service.cli import main
    main(prog_name="agent-spy")


if __name__ == "__main__":
    run()
