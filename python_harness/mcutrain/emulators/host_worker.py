"""The process in which HostRunner runs a library: a crash or an endless loop in it is then an exit status or a time limit.

Called as: host_worker.py LIBRARY IMAGE LINES OBSERVED. It imports nothing of mcutrain, so that it starts fast and from anywhere.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from cffi import FFI

DECLARATIONS = """
typedef void (*mct_host_put)(const char *line, uint32_t bytes);
typedef struct {
    uint32_t updates, zero, capped;
    float smallest_ratio, largest_ratio;
    float largest_step;
} mct_host_updates;
const uint8_t *mct_host_state(void);
uint32_t mct_host_state_bytes(void);
void mct_host_observe(mct_host_updates *counts);
int32_t mct_host_run(const uint8_t *image, uint32_t bytes, mct_host_put put);
"""
ALIGNMENT = 8  # MCT_HOST_ALIGNMENT


def main(library_path: str, image_path: str, lines_path: str, observed_path: str) -> int:
    """Run the image and append each line to the file, then write what was observed; the status is the exit code."""
    ffi = FFI()
    ffi.cdef(DECLARATIONS)
    library: Any = ffi.dlopen(library_path)
    content = Path(image_path).read_bytes()
    image = ffi.new("uint32_t[]", (len(content) + 3) // 4)  # words: the image must be aligned
    ffi.memmove(image, content, len(content))
    counts = ffi.new("mct_host_updates[]", library.mct_host_state_bytes() // ALIGNMENT + 1)
    library.mct_host_observe(counts)
    with Path(lines_path).open("ab", buffering=0) as lines:

        def put(line: object, count: int) -> None:
            os.write(lines.fileno(), ffi.buffer(line, count)[:])

        callback = ffi.callback("mct_host_put", put)
        status = int(library.mct_host_run(ffi.cast("const uint8_t *", image), len(content), callback))
    state = bytes(ffi.buffer(library.mct_host_state(), library.mct_host_state_bytes()))
    updates = [
        (ALIGNMENT * entry, of.updates, of.zero, of.capped, of.smallest_ratio, of.largest_ratio, of.largest_step)
        for entry, of in enumerate(counts)
        if of.updates
    ]
    Path(observed_path).write_text(json.dumps({"state": state.hex(), "updates": updates}), encoding="ascii")
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
