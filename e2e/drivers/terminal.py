"""A command on a pty, as somebody at a keyboard has it."""
import os
import pty
import re
import select
import time


class Terminal:
    def __init__(self, command, root=None, directory=None):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            if root:
                os.chroot(root)
            os.chdir(directory or "/")
            os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", TERM="xterm")
            os.execvp("sh", ["sh", "-c", command])

    def read_until(self, pattern, seconds):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self.fd], [], [], 1)
            try:
                piece = os.read(self.fd, 65536) if ready else None
            except OSError:                 # the other end of the pty is closed
                piece = b""
            if piece == b"" or time.monotonic() > deadline:
                raise AssertionError(f"no {pattern!r} in:\n{self.text[-4000:]}")
            self.text += (piece or b"").decode(errors="replace")

    def type(self, keys):
        os.write(self.fd, keys)

    def finish(self):
        """Reads to the end; the exit code."""
        try:
            while piece := os.read(self.fd, 65536):
                self.text += piece.decode(errors="replace")
        except OSError:                     # the end of a pty
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
