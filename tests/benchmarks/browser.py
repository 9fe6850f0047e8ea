"""A page in headless Chromium, and what a script in it tells."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",  # or it ends once the page is loaded
    "--window-size=1300,900",
)
# `until(test)`: milliseconds from the start of navigation to the first frame in which the test holds.
PRELUDE = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
console.error = (...parts) => errors.push(parts.join(" "));
const frame = () => new Promise(requestAnimationFrame);
const until = async (test) => {
  do await frame(); while (!test());
  await frame();
  return performance.now();
};
const tell = (told) => fetch("%s", { method: "POST", mode: "no-cors", body: JSON.stringify({ ...told, errors }) });
addEventListener("DOMContentLoaded", async () => {
  try { tell(await (async () => { %s })()); } catch (error) { tell({ failed: String(error) }); }
});
</script>"""


def visit(text: str, script: str, folder: Path, *flags: str, seconds: float = 120) -> Any:
    """What a script in a page returns.

    Args:
        text: The page, opened from a file.
        script: Body of an async function that runs once the page is parsed.
        folder: For the file and for what the browser keeps.
        flags: More of Chromium's.
        seconds: To wait.
    """
    told: Queue[Any] = Queue()
    with _listening(told) as address:
        file = folder / "page.html"
        prelude = PRELUDE % (address, script)
        file.write_text(text.replace("<style>", prelude + "<style>", 1), encoding="utf-8")
        command = [str(CHROMIUM), *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}"]
        browser = subprocess.Popen(
            [*command, file.as_uri()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            return told.get(timeout=seconds)
        finally:
            browser.terminate()
            browser.wait()


@contextmanager
def _listening(told: "Queue[Any]") -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
