"""``doctor``: what this machine has, what is missing, and where to get it."""

from __future__ import annotations

from mcutrain.commands.options import JsonOption, console, print_json
from mcutrain.environment import doctor, render, to_json


def doctor_command(json: JsonOption = False) -> None:
    """Show what is installed, what is missing and what each is for."""
    checks = doctor()
    if json:
        print_json(to_json(checks))
    else:
        console.print(render(checks))
