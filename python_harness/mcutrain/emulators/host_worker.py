"""The process in which HostRunner runs a library: a crash or an endless loop in it is then an exit status or a time limit.

Called as: host_worker.py LIBRARY IMAGE LINES. It imports nothing of mcutrain, so that it starts fast and from anywhere.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cffi import FFI

DECLARATIONS = """
typedef void (*mct_host_put)(const char *line, uint32_t bytes);
int32_t mct_host_run(const uint8_t *image, uint32_t bytes, mct_host_put put);
"""


def main(library_path: str, image_path: str, lines_path: str) -> int:
    """Run the image and append each line to the file; the status is the exit code."""
    ffi = FFI()
    ffi.cdef(DECLARATIONS)
    library = ffi.dlopen(library_path)
    content = Path(image_path).read_bytes()
    image = ffi.new("uint32_t[]", (len(content) + 3) // 4)  # words: the image must be aligned
    ffi.memmove(image, content, len(content))
    with Path(lines_path).open("ab", buffering=0) as lines:

        def put(line: object, count: int) -> None:
            os.write(lines.fileno(), ffi.buffer(line, count)[:])

        callback = ffi.callback("mct_host_put", put)
        return int(library.mct_host_run(ffi.cast("const uint8_t *", image), len(content), callback))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
