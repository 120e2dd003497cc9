"""A small OpenID provider of the tests' own, and the browser that goes there and back.

Every user logs in at once.  What it gives away, and how badly, is what a scenario makes of the
functions in `twist`: a function for "metadata", "claims", "header", "sign", "keys", "answer".  Signing is the
openssl command's; oidc_client.py holds the whole against an independent client."""
import base64
import hashlib
import http.client
import http.server
import json
import pathlib
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
import uuid

KEYS = {"RS256": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "ES256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "EdDSA": ["ED25519"]}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*args, data=b""):
    return subprocess.run(["openssl", *map(str, args)], input=data, capture_output=True, check=True).stdout


class Key:
    def __init__(self, alg, path, kid):
        self.alg, self.path, self.kid = alg, path, kid
        openssl("genpkey", "-algorithm", *KEYS[alg], "-out", path)
        self.der = openssl("pkey", "-in", path, "-pubout", "-outform", "DER")

    def jwk(self):
        if self.alg == "RS256":
            number = openssl("rsa", "-in", self.path, "-noout", "-modulus").decode().strip().split("=")[1]
            return {"kty": "RSA", "kid": self.kid, "use": "sig", "alg": "RS256", "n": b64(bytes.fromhex(number)), "e": "AQAB"}
        if self.alg == "ES256":
            return {"kty": "EC", "kid": self.kid, "crv": "P-256", "x": b64(self.der[-64:-32]), "y": b64(self.der[-32:])}
        return {"kty": "OKP", "kid": self.kid, "crv": "Ed25519", "x": b64(self.der[-32:])}

    def sign(self, text):
        if self.alg == "EdDSA":
            with tempfile.NamedTemporaryFile() as file:
                file.write(text)
                file.flush()
                return openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", file.name)
        signature = openssl("dgst", "-sha256", "-sign", self.path, data=text)
        if self.alg == "RS256":
            return signature
        parsed = [line.split(b":")[-1] for line in openssl("asn1parse", "-inform", "DER", data=signature).splitlines()[1:]]
        return b"".join(bytes.fromhex(number.decode().rjust(64, "0"))[-32:] for number in parsed)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass            # a client that does not like our certificate, or left


class Provider:
    """`alg`: what ID tokens are signed with; `user`: the claims of whoever logs in next."""

    def __init__(self, port, directory, alg="RS256", client_id="adit", secret="s3cret of the tests / +", auth="client_secret_basic"):
        self.port, self.dir, self.alg, self.auth = port, pathlib.Path(directory), alg, auth
        self.issuer, self.client_id, self.secret = f"https://127.0.0.1:{port}", client_id, secret
        self.dir.mkdir(parents=True)
        self.keys = {name: Key(name, self.dir / f"{name}.pem", f"{name}-1") for name in KEYS}
        self.user, self.twist, self.codes, self.seen, self.lock = {"sub": "u-1"}, {}, {}, {}, threading.Lock()
        self._certify()
        self.server = Server(("127.0.0.1", port), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.dir / "cert.pem", self.dir / "key.pem")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def _certify(self):
        cert, key, ca, ca_key, request = (self.dir / name for name in ("cert.pem", "key.pem", "ca.pem", "ca.key", "request"))
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *ec, "-keyout", ca_key, "-out", ca, "-subj", "/CN=a CA of the tests", "-days", "30",
                "-addext", "keyUsage=critical,keyCertSign")
        openssl("req", *ec, "-keyout", key, "-out", request, "-subj", "/CN=provider")
        (self.dir / "extensions").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "30",
                "-extfile", self.dir / "extensions", "-out", cert)
        self.ca = ca.read_text()

    def new_key(self, kid):
        self.keys[self.alg] = Key(self.alg, self.dir / f"{kid}.pem", kid)

    def _twisted(self, what, value):
        return self.twist[what](value) if what in self.twist else value

    def id_token(self, request, access_token):
        now = int(time.time())
        half = (hashlib.sha512 if self.alg == "EdDSA" else hashlib.sha256)(access_token.encode()).digest()
        claims = self._twisted("claims", {
            "iss": self.issuer, "aud": self.client_id, "iat": now, "exp": now + 300, "nonce": request.get("nonce"),
            "at_hash": b64(half[:len(half) // 2]), **self.user})
        key = self.keys[self.alg]
        header = self._twisted("header", {"alg": key.alg, "kid": key.kid, "typ": "JWT"})
        text = b64(json.dumps(header).encode()) + "." + b64(json.dumps(claims).encode())
        sign = self.twist.get("sign", key.sign)
        return text + "." + b64(sign(text.encode()))

    # ---- what it answers: (status, headers, body) ----
    def metadata(self, query, headers, body):
        return self._twisted("metadata", {
            "issuer": self.issuer, "authorization_endpoint": self.issuer + "/authorize",
            "token_endpoint": self.issuer + "/token", "jwks_uri": self.issuer + "/keys",
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(KEYS), "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [self.auth],
            "authorization_response_iss_parameter_supported": True})

    def authorize(self, query, headers, body):
        if query.get("client_id") != self.client_id or query.get("code_challenge_method") != "S256":
            return 400, {}, {"error": "invalid_request"}
        code = uuid.uuid4().hex
        self.codes[code] = query
        back = query["redirect_uri"] + "?" + urllib.parse.urlencode(
            self._twisted("answer", {"code": code, "state": query["state"], "iss": self.issuer, "session_state": "x"}))
        return 302, {"Location": back}, {}

    def _is_client(self, headers, form):
        if self.auth == "client_secret_post":
            return (form.get("client_id"), form.get("client_secret")) == (self.client_id, self.secret)
        scheme, _, known = headers.get("Authorization", "").partition(" ")
        user, _, secret = base64.b64decode(known).decode().partition(":")
        return scheme == "Basic" and [urllib.parse.unquote_plus(user), urllib.parse.unquote_plus(secret)] == [self.client_id, self.secret]

    def token(self, query, headers, body):
        form = dict(urllib.parse.parse_qsl(body.decode()))
        if not self._is_client(headers, form):
            return 401, {}, {"error": "invalid_client"}
        with self.lock:
            request = self.codes.pop(form.get("code"), None)
        challenge = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if not request or request["code_challenge"] != challenge or request["redirect_uri"] != form.get("redirect_uri"):
            return 400, {}, {"error": "invalid_grant"}
        access = uuid.uuid4().hex
        return {"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": self.id_token(request, access)}

    def jwks(self, query, headers, body):
        return self._twisted("keys", {"keys": [key.jwk() for key in self.keys.values()]})

    def answer(self, path, headers, body):
        parts = urllib.parse.urlsplit(path)
        with self.lock:
            self.seen[parts.path] = self.seen.get(parts.path, 0) + 1
        answers = {"/.well-known/openid-configuration": self.metadata, "/authorize": self.authorize,
                   "/token": self.token, "/keys": self.jwks}
        if parts.path not in answers:
            return 404, {}, {}
        answer = answers[parts.path](dict(urllib.parse.parse_qsl(parts.query)), headers, body)
        return answer if isinstance(answer, tuple) else (200, {}, answer)

    def _handler(self):
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, answer = provider.answer(self.path, self.headers, body)
                text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(text)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_GET

            def log_message(self, *args):
                pass

        return Handler

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Page:
    def __init__(self, status, headers, text):
        self.status, self.headers, self.text = status, headers, text
        self.location = headers.get("Location")
        self.body = json.loads(text) if "json" in (headers.get("Content-Type") or "") and text else None

    def __repr__(self):
        return f"{self.status} {self.location or ''} {self.text[:300]}"


class Browser:
    """Goes where it is sent, keeps cookies for each host, runs no scripts."""

    def __init__(self, *ca_files):
        self.context = ssl.create_default_context()
        for ca in ca_files:
            self.context.load_verify_locations(str(ca))
        self.cookies = {}

    def __call__(self, url, method="GET", body=None, headers=()):
        parts = urllib.parse.urlsplit(url)
        known = self.cookies.setdefault(parts.netloc, {})
        connection = http.client.HTTPSConnection(parts.netloc, context=self.context, timeout=40)
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in known.items()), **dict(headers)}
        connection.request(method, parts.path + ("?" + parts.query if parts.query else ""),
                           None if body is None else json.dumps(body), {k: v for k, v in sent.items() if v})
        answer = connection.getresponse()
        text = answer.read().decode()
        for line in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = line.split(";")[0].partition("=")
            known.pop(name, None)
            if "Max-Age=0" not in line:
                known[name] = value
        connection.close()
        return Page(answer.status, answer.headers, text)

    def log_in(self, api, provider, query="", before_callback=lambda url: url):
        """The whole way; the last page."""
        page = self(f"{api}/identity-providers/{provider}/log-in{query}")
        if page.status != 302:
            return page
        page = self(page.location)
        return self(before_callback(page.location)) if page.status == 302 else page
