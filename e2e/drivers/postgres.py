"""A PostgreSQL server in the scenario's /tmp, on a Unix socket, run by nobody; and two of them."""
import functools
import glob
import os
import pathlib
import pwd
import shutil
import signal
import subprocess

from harness import check, wait_until

BIN = max(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
NOBODY = pwd.getpwnam("nobody")


@functools.cache
def the_server():
    """The one of a scenario that runs on PostgreSQL too."""
    return Postgres()


class Postgres:
    """A server that keeps what it has answered for: .url, .sql("SELECT 1"), .kill(), .start()."""

    def __init__(self, folder="/tmp/postgres", role="adit", copy_of=None):
        self.folder, self.data = pathlib.Path(folder), pathlib.Path(folder) / "data"
        self.folder.mkdir()
        os.chown(self.folder, NOBODY.pw_uid, NOBODY.pw_gid)
        if copy_of:                         # it follows that one from then on
            self._run("pg_basebackup", "-h", copy_of.folder, "-U", role, "-D", self.data, "-R", "-c", "fast", "--no-sync")
        else:
            self._run("initdb", "-D", self.data, "-U", role, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        self.url = f"postgresql://{role}@/postgres?host={self.folder}"
        self.process = None
        self.start()

    def _as_nobody(self):
        return {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": [], "cwd": self.folder}

    def _run(self, program, *args):
        done = subprocess.run([f"{BIN}/{program}", *[str(a) for a in args]], capture_output=True, text=True,
                              **self._as_nobody())
        check(done.returncode == 0, done)

    def start(self, *settings):
        """Waits until it takes connections."""
        self._spawn(settings)
        wait_until(lambda: self._takes(settings), 60, lambda: (self.folder / "log").read_text()[-2000:])

    def _spawn(self, settings):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [f"{BIN}/postgres", "-D", str(self.data), "-k", str(self.folder), "-c", "listen_addresses=",
                 *[word for s in settings for word in ("-c", s)]],
                stdout=log, stderr=log, start_new_session=True, **self._as_nobody())

    def _takes(self, settings):
        """A process that was killed is out of /proc a moment before its shared memory is free: then it ends at once."""
        if self.process.poll() is not None:
            self._spawn(settings)
        return self.try_sql("SELECT 1").returncode == 0

    def revive(self):
        """Starts it again where it gave up; waits until it takes connections."""
        wait_until(lambda: self._takes(()), 60, lambda: (self.folder / "log").read_text()[-2000:])

    def try_sql(self, text):
        return subprocess.run([f"{BIN}/psql", "-XAtq", "-d", self.url, "-c", text], capture_output=True, text=True)

    def sql(self, text):
        """Lines of columns with | between."""
        done = self.try_sql(text)
        check(done.returncode == 0, done)
        return done.stdout.splitlines()

    def kill(self, number=signal.SIGKILL):
        """The postmaster and all that serves connections, at once."""
        os.killpg(self.process.pid, number)
        self.process.wait(30)
        wait_until(lambda: not self._is_left(), 30, "all of the server's processes are gone")

    def _is_left(self):
        """Shared memory is freed when the last process has ended; until then it does not start."""
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(entry / "exe") == f"{BIN}/postgres" and os.readlink(entry / "cwd") == str(self.data):
                    return True
            except OSError:
                continue
        return False


class Pair:
    """A server and its standby, a synchronous one unless `names` are "": .url has both, .fail_over(), .rejoin()."""

    FOLDERS = ("/tmp/db1", "/tmp/db2")

    def __init__(self, names="*"):
        self.url, self.names = f"postgresql://adit@/postgres?host={','.join(self.FOLDERS)}", names
        self.primary = Postgres(self.FOLDERS[0])
        self._follow(self.FOLDERS[1])

    def _follow(self, folder):
        self.standby = Postgres(folder, copy_of=self.primary)
        self._wait_for_standby(self.names)
        state = "sync" if self.names else "async"
        wait_until(lambda: self.primary.sql("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'") == [state],
                   60, "the standby follows")

    def _wait_for_standby(self, names):
        """Whom each commit waits for."""
        self.primary.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.primary.sql("SELECT pg_reload_conf()")

    def fail_over(self):
        """The primary dies with all that only it knew; the standby takes over, alone at first."""
        self.primary.kill()
        self.take_over()

    def take_over(self):
        self.dead, self.primary = self.primary, self.standby
        self._wait_for_standby("")
        check(self.primary.sql("SELECT pg_promote()") == ["t"], "it was not promoted")

    def rejoin(self):
        """In the place of the one that died a new standby, made from the primary."""
        shutil.rmtree(self.dead.folder)
        self._follow(self.dead.folder)
