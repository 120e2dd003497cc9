"""A small disk of its own that is filled until not one byte more goes in."""
import pathlib
import subprocess


class Disk:
    """A file system of so many MiB at `folder`: .fill(), .free(), .write_until_refused(up)."""

    def __init__(self, folder, mib=64, mode="700"):
        self.ballast = pathlib.Path(folder) / "ballast"
        pathlib.Path(folder).mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode={mode}", "tmpfs", folder], check=True)

    def fill(self):
        with open(self.ballast, "ab", buffering=0) as file:
            for n in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(bytes(n))
                except OSError:
                    continue

    def free(self):
        self.ballast.unlink()

    def write_until_refused(self, up, most=3000):
        """The groups that were said yes to; the name of the one that was not, and its answer."""
        kept = []
        for n in range(most):
            self.fill()
            answer = up.api("POST", "/groups", {"name": f"g{n}"})
            if answer.status != 201:
                return kept, f"g{n}", answer
            kept.append(f"g{n}")
        raise AssertionError("the disk never was too full")
