"""The runtime's CRC-32, against zlib's."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest
from cffi import FFI
from hypothesis import given
from hypothesis import strategies as st

from emulators.helpers import PERCEPTRON, HostBuilder


@pytest.fixture(scope="module")
def runtime(host: HostBuilder) -> Any:
    ffi = FFI()
    ffi.cdef("uint32_t mct_crc32(uint32_t crc, const void *data, uint32_t bytes);")
    library: Path = host(PERCEPTRON).library
    return ffi.dlopen(str(library))


@given(first=st.binary(max_size=600), second=st.binary(max_size=50))
def test_the_crc_is_zlibs_also_when_it_is_continued(runtime: Any, first: bytes, second: bytes) -> None:
    assert runtime.mct_crc32(0, first, len(first)) == zlib.crc32(first)
    assert runtime.mct_crc32(zlib.crc32(first), second, len(second)) == zlib.crc32(first + second)


def test_every_entry_of_the_table_is_right(runtime: Any) -> None:
    for byte in range(256):
        assert runtime.mct_crc32(0, bytes([byte]), 1) == zlib.crc32(bytes([byte]))
