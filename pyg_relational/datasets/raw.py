"""Raw files: found on disk or downloaded, and never parsed before their sha256 is checked."""

import hashlib
import os
import tarfile
import urllib.request
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from itertools import groupby
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

from tqdm import tqdm

__all__ = ["ENVIRONMENT", "RawFile", "download", "find", "read", "temporary_path"]

ENVIRONMENT = "PYG_RELATIONAL_RAW"
"""Environment variable that names a further folder with raw files."""

_TIMEOUT = 30.0  # seconds, to connect and for each read
_CHUNK = 1 << 18


@dataclass(frozen=True)
class RawFile:
    """A published file.

    Args:
        name: File name, as the publisher has it.
        sha256: Checksum of the file, in hex.
        url: Address of the file, or of the archive that holds it.
        member: Path of the file in the archive at ``url``; None if ``url`` is the file itself.
    """

    name: str
    sha256: str
    url: str
    member: str | None = None


def find(name: str, folders: Sequence[Path]) -> Path | None:
    """The first ``folder / name`` that exists, or None."""
    return next((path for folder in folders if (path := folder / name).is_file()), None)


def read(file: RawFile, path: Path) -> bytes:
    """The bytes of ``path``, which are those of ``file``.

    Raises:
        ValueError: The sha256 differs from the published one.
    """
    content = path.read_bytes()
    _check(file, content, str(path))
    return content


def download(files: Sequence[RawFile], folder: Path) -> None:
    """Download ``files`` into ``folder``; each appears whole and checked, or not at all.

    Args:
        files: What to download. An archive that holds several of them is fetched once.
        folder: Where to put them; made if it does not exist.

    Raises:
        FileNotFoundError: The address can't be reached. Says where to put the files by hand.
        ValueError: What came has another sha256.
        OSError: ``folder`` is not writable.
    """
    for url, group in groupby(sorted(files, key=lambda file: file.url), key=lambda file: file.url):
        _download_url(url, list(group), folder)


def _download_url(url: str, files: list[RawFile], folder: Path) -> None:
    with temporary_path(folder / "download") as archive:
        try:
            _stream(url, archive)
        except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
            raise FileNotFoundError(_advice(url, files, folder, error)) from error
        for file in files:
            content = _content(file, archive)
            _check(file, content, url)
            with temporary_path(folder / file.name) as part:
                part.write_bytes(content)
                os.replace(part, folder / file.name)


def _stream(url: str, path: Path) -> None:
    _require_http(url)
    request = urllib.request.Request(url, headers={"User-Agent": "pyg-relational"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response, path.open("wb") as out:
        _require_http(response.url)
        length = response.headers.get("Content-Length")
        total = None if length is None else int(length)
        with tqdm(total=total, unit="B", unit_scale=True, desc=url, disable=None) as bar:
            while chunk := response.read(_CHUNK):
                bar.update(out.write(chunk))
        if total is not None and out.tell() != total:
            raise ConnectionError(f"the connection broke after {out.tell()} of {total} bytes")


def _require_http(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"url must be http or https, got {url}")


def _content(file: RawFile, path: Path) -> bytes:
    if file.member is None:
        return path.read_bytes()
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:
                return zipped.read(file.member)
        with tarfile.open(path) as tar:
            stream = tar.extractfile(file.member)
            return b"" if stream is None else stream.read()
    except (zipfile.BadZipFile, tarfile.TarError, KeyError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{file.url} must be a zip or tar archive with {file.member}, got one that is damaged "
            f"or another ({error})"
        ) from error


def _check(file: RawFile, content: bytes, source: str) -> None:
    got = hashlib.sha256(content).hexdigest()
    if got != file.sha256:
        raise ValueError(
            f"{file.name} from {source} must have sha256 {file.sha256}, got {got} "
            f"({len(content)} bytes): the file is damaged, cut short or another version"
        )


def _advice(url: str, files: list[RawFile], folder: Path, error: Exception) -> str:
    names = ", ".join(file.name for file in files)
    return (
        f"{names}: not on disk, and {url} can't be reached ({error}). Download it by hand"
        f"{'' if files[0].member is None else ', unpack it'} and put {names} into {folder}, or set "
        f"{ENVIRONMENT} to a folder that has {', '.join(f'{folder.name}/{f.name}' for f in files)}"
    )


@contextmanager
def temporary_path(path: Path) -> Iterator[Path]:
    """A new empty file beside ``path``, gone at the end unless it was moved.

    Raises:
        OSError: The folder can't be made or written to.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise OSError(
            f"{path.parent} is not writable ({error}): pass a root in which files can be written"
        ) from error
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
