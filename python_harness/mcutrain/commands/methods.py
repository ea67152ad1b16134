"""``methods``: what training methods there are, and what can be chosen of each."""

from __future__ import annotations

from typing import Any

from mcutrain.commands.options import JsonOption, console, print_json
from mcutrain.methods.registry import METHODS, Method


def methods(json: JsonOption = False) -> None:
    """List the methods with their options, which an episode's file or --option KEY=VALUE sets."""
    if json:
        print_json({"methods": [_document(method) for method in METHODS.values()]})
        return
    for method in METHODS.values():
        console.print(f"{method.name}: {method.description}")
        for key, field in method.options.model_fields.items():
            console.print(f"  {key} (default {field.default}): {field.description}")


def _document(method: Method) -> dict[str, Any]:
    """options_schema: the JSON schema of its options."""
    return {
        "name": method.name,
        "description": method.description,
        "options_schema": method.options.model_json_schema(),
    }
