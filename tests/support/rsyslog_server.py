"""A real rsyslog with a configuration of its own, on loopback, as a peer of the sinks."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from pathlib import Path

from support import servers

NAME = "rsyslog"
_MODULES = ("/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog", "/usr/lib/rsyslog", "/usr/lib64/rsyslog")  # fmt: skip
_DEBIAN = {"lmnsd_gtls": "rsyslog-gnutls", "omelasticsearch": "rsyslog-elasticsearch"}


def rsyslogd(*modules):
    """The path of the daemon, if it and its *modules* are here; else the test is skipped."""
    path = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        servers.missing(NAME, "no rsyslogd; on Debian: apt-get install rsyslog")
    for module in modules:
        if not any((Path(folder) / f"{module}.so").exists() for folder in _MODULES):
            package = _DEBIAN.get(module, "rsyslog")
            servers.missing(NAME, f"no module {module}; on Debian: apt-get install {package}")
    return path


class Rsyslog:
    """One rsyslogd: written to by sinks, and read here from the file that it writes.

    Args:
        folder: Where its files are.
        configuration: RainerScript; ``@FOLDER@``, ``@PORT@`` and ``@OUT@`` are replaced.
        modules: What must be installed beside the daemon itself.
        ready: Whether somebody listens on the port before it counts as started.
    """

    def __init__(self, folder, configuration, *, modules=(), ready=True):
        self._daemon = rsyslogd(*modules)
        self.folder = Path(folder)
        self.port = servers.free_port()
        self.out = self.folder / "out.log"
        self._ready = ready
        self.conf = self.folder / "rsyslog.conf"
        text = configuration
        if "workDirectory" not in text:
            text = f'global(workDirectory="{self.folder}" net.enableDNS="off")\n{text}'
        for word, value in (("FOLDER", folder), ("PORT", self.port), ("OUT", self.out)):
            text = text.replace(f"@{word}@", str(value))
        self.conf.write_text(text)
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        command = [self._daemon, "-n", "-f", self.conf, "-i", self.folder / "pid", "-C"]
        self.process = servers.Process.start(command, self.folder)
        self.process.wait_until(self._listens if self._ready else lambda: True, timeout=30)

    def _listens(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True

    def stop(self):
        """End it properly: it writes what it has."""
        if self.process is not None:
            self.process.stop()
            self.process = None

    def kill(self):
        """End it with SIGKILL: what it had in memory is gone."""
        self.process.kill()
        self.process = None
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "pid").unlink()

    def lines(self):
        """The whole lines that it has written."""
        with contextlib.suppress(FileNotFoundError):
            return self.out.read_bytes().split(b"\n")[:-1]
        return []
