# it carries 2,000 short transfers of random sizes, closed right after the last byte, whole
import concurrent.futures
import random

from clients import connect, socks5
from harness import check
from inside import Pattern, receive_to_end
from up import Up, closed_network

COUNT, LARGEST = 2000, 200 * 1024

with Up() as up:
    closed_network(up)
    credential, sizes = up.curlrc(), random.Random(7)
    plan = [(n, sizes.choice((0, 1, sizes.randrange(LARGEST), LARGEST))) for n in range(COUNT)]

    def fetch(item):
        seed, size = item
        door = connect("files.corp.test:7000", credential) if seed % 2 else \
            socks5("files.corp.test", 7000, credential)
        with door as stream:
            stream.sendall(f"send {seed} {size}\n".encode())
            got = receive_to_end(stream)
        return None if got == (size, Pattern(seed, size).sha256()) else (seed, size, got)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        wrong = [w for w in pool.map(fetch, plan) if w]
    check(not wrong, f"{len(wrong)} of {COUNT} were not whole:", wrong[:5])
