import hashlib
import io
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from mcutrain.datasets import load_dataset
from mcutrain.datasets.locate import Archive, locate_member
from mcutrain.errors import NotAvailableError

CONTENT = b"twelve bytes"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    """Serves things.tar.gz, which holds things/a.bin, on this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    with tarfile.open(folder / "things.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("things/a.bin")
        member.size = len(CONTENT)
        archive.addfile(member, io.BytesIO(CONTENT))
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    thread = Thread(target=httpd.serve_forever)
    thread.start()
    yield httpd
    httpd.shutdown()
    thread.join(timeout=10)
    httpd.server_close()


@pytest.fixture(autouse=True)
def empty_cache_and_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("MCUTRAIN_DATA", raising=False)
    return cache


def archive_of(server: ThreadingHTTPServer, tmp_path: Path) -> Archive:
    content = (tmp_path / "served" / "things.tar.gz").read_bytes()
    return Archive(f"http://127.0.0.1:{server.server_port}/things.tar.gz", hashlib.sha256(content).hexdigest())


def test_a_file_in_the_data_folder_is_used_and_nothing_is_downloaded(
    tmp_path: Path, empty_cache_and_no_proxy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = tmp_path / "data" / "things" / "a.bin"
    present.parent.mkdir(parents=True)
    present.write_bytes(b"mine")
    monkeypatch.setenv("MCUTRAIN_DATA", str(tmp_path / "data"))
    assert locate_member("things", "a.bin", Archive("http://127.0.0.1:9/things.tar.gz", "0" * 64)) == present
    assert not empty_cache_and_no_proxy.exists()


def test_a_published_archive_is_downloaded_once_into_the_cache(
    tmp_path: Path, empty_cache_and_no_proxy: Path, server: ThreadingHTTPServer
) -> None:
    archive = archive_of(server, tmp_path)
    path = locate_member("things", "a.bin", archive)
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(empty_cache_and_no_proxy)
    (tmp_path / "served" / "things.tar.gz").unlink()
    assert locate_member("things", "a.bin", archive) == path


def test_an_archive_with_another_sha256_is_refused_and_not_kept(
    tmp_path: Path, empty_cache_and_no_proxy: Path, server: ThreadingHTTPServer
) -> None:
    wrong = Archive(archive_of(server, tmp_path).url, "0" * 64)
    with pytest.raises(NotAvailableError, match=r"could not download .*things\.tar\.gz .*hash"):
        locate_member("things", "a.bin", wrong)
    assert [path for path in empty_cache_and_no_proxy.rglob("*") if path.is_file()] == []


def test_a_set_that_is_nowhere_names_the_folder_and_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy on a port where nobody listens: the network, as a machine without one sees it.
    for variable in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for data_folder in (None, tmp_path):
        if data_folder is not None:
            monkeypatch.setenv("MCUTRAIN_DATA", str(data_folder))
        with pytest.raises(NotAvailableError) as refusal:
            load_dataset("cifar10")
        line = str(refusal.value)
        where = "MCUTRAIN_DATA, which is not set" if data_folder is None else f"MCUTRAIN_DATA={tmp_path}"
        assert f"looked for folder cifar-10-batches-bin in {where}" in line
        assert "\n" not in line
        assert refusal.value.exit_code == 77
