import hashlib
import io
import os
import socket
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pyg_relational.datasets import raw
from pyg_relational.datasets.raw import RawFile, download, find, read, temporary_path

CONTENT = bytes(range(256)) * 4096
SHA = hashlib.sha256(CONTENT).hexdigest()


def tar(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo("inner/a.bin")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
        archive.addfile(tarfile.TarInfo("../evil"), io.BytesIO())
    return stream.getvalue()


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/a.bin", content)
        archive.writestr("inner/b.bin", content[::-1])
    return stream.getvalue()


BODIES = {
    "/whole": CONTENT,
    "/corrupt": CONTENT[:-1] + b"\x00",
    "/broken": CONTENT[:1000],
    "/a.tar.gz": tar(CONTENT),
    "/a.zip": zipped(CONTENT),
    "/cut.tar.gz": tar(CONTENT)[:-200],
    "/cut.zip": zipped(CONTENT)[:-200],
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
            return
        body = BODIES.get(self.path)
        self.send_response(404 if body is None else 200)
        body = body or b""
        length = len(CONTENT) if self.path == "/broken" else len(body)
        if self.path != "/whole":  # /whole comes without a length, as some servers do
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def address(server) -> str:
    server.asked.clear()
    return f"http://127.0.0.1:{server.server_port}"


def test_download_whole_file(address, tmp_path):
    download([RawFile("a.bin", SHA, f"{address}/whole")], tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder" / "a.bin").read_bytes() == CONTENT
    assert os.listdir(tmp_path / "new" / "folder") == ["a.bin"]


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip"])
def test_download_member_of_archive(address, tmp_path, name):
    download([RawFile("a.bin", SHA, f"{address}/{name}", "inner/a.bin")], tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["a.bin"]


def test_archive_is_fetched_once(server, address, tmp_path):
    url = f"{address}/a.zip"
    reverse = hashlib.sha256(CONTENT[::-1]).hexdigest()
    files = [RawFile("a", SHA, url, "inner/a.bin"), RawFile("b", reverse, url, "inner/b.bin")]
    download(files, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert server.asked == ["/a.zip"]


@pytest.mark.parametrize(
    ("path", "member", "error", "words"),
    [
        ("/corrupt", None, ValueError, ["a.bin", "/corrupt", SHA, "got"]),
        ("/broken", None, FileNotFoundError, ["a.bin", "/broken", "1000 of 1048576"]),
        ("/missing", None, FileNotFoundError, ["a.bin", "/missing", "404"]),
        ("/redirect", None, FileNotFoundError, ["a.bin", "/redirect"]),
        ("/a.zip", "inner/b.bin", ValueError, [SHA, "got"]),
        ("/a.zip", "inner/c.bin", ValueError, ["inner/c.bin"]),
        ("/a.tar.gz", "inner/c.bin", ValueError, ["inner/c.bin"]),
        ("/cut.tar.gz", "inner/a.bin", ValueError, ["inner/a.bin", "damaged"]),
        ("/cut.zip", "inner/a.bin", ValueError, ["inner/a.bin", "damaged"]),
    ],
)
def test_failed_download_leaves_nothing(address, tmp_path, path, member, error, words):
    with pytest.raises(error) as caught:
        download([RawFile("a.bin", SHA, address + path, member)], tmp_path)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert os.listdir(tmp_path) == []


def test_interrupt_leaves_nothing(address, tmp_path, monkeypatch):
    class Interrupt:
        def __init__(self, **_: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(raw, "tqdm", Interrupt)
    with pytest.raises(KeyboardInterrupt):
        download([RawFile("a.bin", SHA, f"{address}/whole")], tmp_path)
    assert os.listdir(tmp_path) == []


def test_offline_says_what_where_and_how(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/a.tgz"
    with pytest.raises(FileNotFoundError) as caught:
        download([RawFile("a.bin", SHA, url, "a.bin")], tmp_path / "letters")
    for word in ("a.bin", url, str(tmp_path / "letters"), "PYG_RELATIONAL_RAW", "letters/a.bin"):
        assert word in str(caught.value)
    assert os.listdir(tmp_path / "letters") == []


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/a", "a.bin"])
def test_only_http(tmp_path, url):
    with pytest.raises(ValueError, match="http or https"):
        download([RawFile("a.bin", SHA, url)], tmp_path)


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="not writable"):
        download([RawFile("a.bin", SHA, "http://127.0.0.1:9/a")], tmp_path / "file" / "folder")


def test_read_refuses_other_content(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    assert read(RawFile("a.bin", SHA, "http://x"), path) == CONTENT
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=f"a.bin.*{SHA}.*1048575 bytes"):
        read(RawFile("a.bin", SHA, "http://x"), path)


def test_find_takes_the_first_folder(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    assert find("a", [tmp_path / "one", tmp_path / "two"]) is None
    (tmp_path / "two" / "a").write_text("")
    assert find("a", [tmp_path / "one", tmp_path / "two"]) == tmp_path / "two" / "a"
    (tmp_path / "one" / "a").write_text("")
    assert find("a", [tmp_path / "one", tmp_path / "two"]) == tmp_path / "one" / "a"


def test_temporary_path_is_gone_or_moved(tmp_path):
    with temporary_path(tmp_path / "a") as part:
        part.write_text("half")
    assert os.listdir(tmp_path) == []
    with temporary_path(tmp_path / "a") as part:
        part.write_text("whole")
        os.replace(part, tmp_path / "a")
    assert (tmp_path / "a").read_text() == "whole"
