# it pays no heed to proxy variables of the environment on loopback
from harness import check
from up import Up

nowhere = "http://127.0.0.1:9"
names = ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY")
with Up(env={**{name: nowhere for name in names}, "no_proxy": "*"}) as up:
    check("Hello" in up.curl("http://hello.demo.internal/").stdout)
