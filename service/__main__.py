"""`python -m service`: the same as `agent-spy`."""

from service.cli import main

main(prog_name="agent-spy")
