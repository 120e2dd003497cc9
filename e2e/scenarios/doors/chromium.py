# it serves Chromium through the HTTP proxy with credentials
from browser import Browser, visit
from harness import check
from up import Up

with Up() as up:
    asked = []
    browser = Browser("--proxy-server=http://127.0.0.1:8080", "--proxy-bypass-list=<-loopback>")
    text = visit(browser, *up.curlrc(), asked)("http://hello.demo.internal/")
    check("Hello" in text and "agent   demo-agent" in text, text)
    check(asked == ["Proxy"], asked)
    browser.process.kill()
