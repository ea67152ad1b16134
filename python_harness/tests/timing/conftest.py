from __future__ import annotations

from emulators.conftest import firmware, source_root

__all__ = ["firmware", "source_root"]
