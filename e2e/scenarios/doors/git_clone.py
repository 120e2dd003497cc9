# it clones a git repository over HTTPS through the HTTP proxy and through SOCKS5
import functools
import http.server
import os
import ssl
import subprocess

from harness import check
from up import Up, closed_network


def run(*args, **more):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, **more)
    check(done.returncode == 0, done)
    return done.stdout


def make_repository(path):
    run("git", "init", "-q", "-b", "main", path)
    for n in range(20):
        with open(f"{path}/{n}.txt", "wb") as file:
            file.write(os.urandom(20000))
    run("git", "-C", path, "add", ".")
    run("git", "-C", path, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "-m", "x")
    run("git", "-C", path, "update-server-info")
    return run("git", "-C", path, "rev-parse", "HEAD").strip()


def serve_https(inside):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", "/tmp/key.pem", "-out", "/tmp/cert.pem", "-days", "2", "-subj", "/CN=git.corp.test",
        "-addext", "subjectAltName=DNS:git.corp.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/tmp/cert.pem", "/tmp/key.pem")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="/tmp/repository/.git")
    inside.serve(lambda c: handler(context.wrap_socket(c, server_side=True), ("inside", 0), None), 443)


with Up() as up:
    inside, _, _ = closed_network(up, names={"git.corp.test": ["10.99.0.2"]})
    head = make_repository("/tmp/repository")
    serve_https(inside)
    user, secret = up.curlrc()
    for door in (f"http://{user}:{secret}@127.0.0.1:8080", f"socks5h://{user}:{secret}@127.0.0.1:1080"):
        copy = "/tmp/copy-" + door.split(":")[0]
        run("git", "clone", "-q", "https://git.corp.test/", copy,
            env={**os.environ, "https_proxy": door, "GIT_SSL_CAINFO": "/tmp/cert.pem"})
        check(run("git", "-C", copy, "rev-parse", "HEAD").strip() == head)
        run("git", "-C", copy, "fsck", "--full")
