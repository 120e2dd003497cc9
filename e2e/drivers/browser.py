"""Chromium, told what to do over a pipe."""
import json
import os
import subprocess

from harness import check


class Browser:
    """Chromium on a pipe: descriptors 3 and 4, one JSON message up to each NUL."""

    def __init__(self, *flags):
        to_it, self.to_it = os.pipe()
        self.from_it, from_it = os.pipe()

        def place_pipes():
            os.dup2(to_it, 13), os.dup2(from_it, 14)
            os.dup2(13, 3), os.dup2(14, 4)
        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--user-data-dir=/tmp/profile",
             "--remote-debugging-pipe", *flags, "about:blank"],
            preexec_fn=place_pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.next_id, self.text, self.handlers = 0, b"", {}

    def read(self):
        while b"\0" not in self.text:
            piece = os.read(self.from_it, 65536)
            check(piece, "Chromium ended")
            self.text += piece
        message, self.text = self.text.split(b"\0", 1)
        message = json.loads(message)
        if message.get("method") in self.handlers:
            self.handlers[message["method"]](message["params"])
        return message

    def send(self, method, session=None, **params):
        self.next_id += 1
        message = {"id": self.next_id, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.to_it, json.dumps(message).encode() + b"\0")
        return self.next_id

    def call(self, method, session=None, **params):
        number = self.send(method, session, **params)
        while (message := self.read()).get("id") != number:
            pass
        check("result" in message, message)
        return message["result"]

    def wait_for(self, method):
        while self.read().get("method") != method:
            pass


def visit(browser, user=None, secret=None, asked=None):
    """A page of the browser: page(url) is its text, once it is loaded; proxies get the credentials."""
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    page = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def log_in(params):
        if asked is not None:
            asked.append(params["authChallenge"]["source"])
        response = {"response": "ProvideCredentials", "username": user, "password": secret}
        browser.send("Fetch.continueWithAuth", page, requestId=params["requestId"],
                     authChallengeResponse=response if user else {"response": "CancelAuth"})

    def show(url):
        browser.send("Page.navigate", page, url=url)
        browser.wait_for("Page.loadEventFired")
        return show.evaluate("document.body.innerText")

    def evaluate(expression):
        return browser.call("Runtime.evaluate", page, expression=expression, awaitPromise=True)["result"].get("value")

    browser.handlers["Fetch.authRequired"] = log_in
    browser.handlers["Fetch.requestPaused"] = lambda params: browser.send(
        "Fetch.continueRequest", page, requestId=params["requestId"])
    browser.call("Fetch.enable", page, handleAuthRequests=True)
    browser.call("Page.enable", page)
    show.evaluate, show.session = evaluate, page
    return show
