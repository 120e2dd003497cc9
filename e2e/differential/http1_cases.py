"""What a hostile client may send: heads and bodies that two parsers might read in two ways.

Each case is the bytes of one connection.  All but a few end with a canary request, which shows
where the message before it was taken to end.
"""
CANARY = b"GET /canary HTTP/1.1\r\nHost: a\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /first HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /first HTTP/1.1\r\nHost: a\r\n"
FIVE = b"hello"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"

# Values of Content-Length, before five bytes and the canary.
LENGTHS = [
    b"5", b"05", b"0000000000000000000000000005", b"+5", b"-5", b"5 ", b" 5", b"\t5\t", b"5,5",
    b"5, 5", b"5,6", b"0,5", b"5;q=1", b"5.0", b"5e0", b"0x5", b"5 5", b"5_", b"five", b"", b" ",
    b"\"5\"", b"'5'", b"5\x0b", b"5\x00", b"\x0c5", b"\xa05", b"5\x80", b"18446744073709551621",
    b"9223372036854775808", b"99999999999999999999999999", b"-0", b"0", b"00", b"4", b"6", b"1\r5",
    b"5\r", b"\r\n 5", b"\r\n5", b"0\r\n\t5",
]
# Values of Transfer-Encoding, before a chunked body and the canary.
CODINGS = [
    b"chunked", b"Chunked", b"CHUNKED", b" chunked", b"\tchunked", b"chunked ", b"chunked\t",
    b"chunked,", b",chunked", b"chunked, chunked", b"chunked, identity", b"identity, chunked",
    b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip", b"xchunked", b"chunkedx",
    b"chunked;q=1", b"chunked; foo=bar", b"\"chunked\"", b"'chunked'", b"chunk", b"cow", b"",
    b"\x0bchunked", b"chunked\x0b", b"chunked\x00", b"\x00chunked", b"\xa0chunked", b"chunked\xff",
    b"c\thunked", b"\r\n chunked", b"\r\n\tchunked", b"x\r\n chunked", b"chunked\r\n x",
    b"ch\xc3\xbcnked", b"chunked, cow", b"cow, chunked", b"chu\rnked",
]
# How the names of the two are spelled.
NAMES = [
    b"%s : ", b"%s\t: ", b" %s: ", b"\t%s: ", b"%s\x00: ", b"%s\x0b: ", b"%s:", b"%s:\t", b"%s;: ",
    b"\x00%s: ", b"X\r\n%s: ", b"X: y\n%s: ", b"X: y\r%s: ", b"X: y\r\r\n%s: ", b"X: y\r\n\r%s: ",
    b"%s\xa0: ", b"%s=", b"%s ", b"X:X\r\n %s: ", b"\"%s\": ", b"%s\r\n: ", b"X: \n\n%s: ",
]
# Chunked bodies, before the canary.
BODIES = [
    b"0\r\n\r\n", CHUNKS, b"5\r\nhello\r\n00\r\n\r\n", b"05\r\nhello\r\n0\r\n\r\n",
    b"0000000000000005\r\nhello\r\n0\r\n\r\n", b"00000000000000000005\r\nhello\r\n0\r\n\r\n",
    b"5;a\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0;c\r\n\r\n", b"5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n",
    b"5;\r\nhello\r\n0\r\n\r\n", b"5;\nhello\r\n0\r\n\r\n", b"5;a\nhello\r\n0\r\n\r\n",
    b"5;a\rb\r\nhello\r\n0\r\n\r\n", b"5;\x00\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n",
    b"5\t\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n", b"5 ;a\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5h\r\nhello\r\n0\r\n\r\n", b"5.\r\nhello\r\n0\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n", b"5\rhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello\r0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n",
    b"4\r\nhello\r\n0\r\n\r\n", b"6\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\n\r\n",
    b"5\r\nhello\r\n0\r\n\n", b"5\r\nhello\r\n0\r\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\r\n",
    b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", b"5\r\nhello\r\n0\r\nX: y\n\r\n",
    b"5\r\nhello\r\n0\r\nX y\r\n\r\n", b"5\r\nhello\r\n0\r\n X: y\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX : y\r\n\r\n", b"5\r\nhello\r\n0\r\n: y\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n", b"5\r\nhello\r\n0\r\nX: y\x00\r\n\r\n",
    b"5\r\nhello\r\n0\r\nContent-Length: 33\r\n\r\n", b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n",
    b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", b"8000000000000005\r\nhello\r\n0\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    b"100000005\r\nhello\r\n0\r\n\r\n", b"5,\r\nhello\r\n0\r\n\r\n", b"\x00\r\n5\r\nhello\r\n0\r\n\r\n",
    b"A\r\n0123456789\r\n0\r\n\r\n", b"a\r\n0123456789\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n",
    b"5\r\nhello\r\n", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
]
# First lines, before "Host: a", an empty line and the canary.
LINES = [
    b"GET /first HTTP/1.1", b"get /first HTTP/1.1", b"G=T /first HTTP/1.1", b"M-SEARCH /first HTTP/1.1",
    b"GET  /first HTTP/1.1", b"GET /first  HTTP/1.1", b" GET /first HTTP/1.1", b"GET\t/first HTTP/1.1",
    b"GET /first\tHTTP/1.1", b"GET /first HTTP/1.1 ", b"GET /first HTTP/1.1\t", b"GET /first",
    b"GET /first http/1.1", b"GET /first HTTP/1.0", b"GET /first HTTP/1.2", b"GET /first HTTP/0.9",
    b"GET /first HTTP/2.0", b"GET /first HTTP/11", b"GET /first HTTP/1.1.1", b"GET /first HTTP/1.01",
    b"GET /first HTTP/01.1", b"GET /first HTTP/1,1", b"GET /first HTTP/ 1.1", b"GET /first HTTPS/1.1",
    b"GET /first HTTP/1.1X", b"GET /fi\x00rst HTTP/1.1", b"GET /fi\x0brst HTTP/1.1", b"GET /fi\rrst HTTP/1.1",
    b"GET /fi rst HTTP/1.1", b"GET /fi\x7frst HTTP/1.1", b"GET /fi\xc3\xbcrst HTTP/1.1",
    b"GET /first#x HTTP/1.1", b"GET /first%00 HTTP/1.1", b"GET //first HTTP/1.1", b"GET /a?b=c|d HTTP/1.1",
    b"GET first HTTP/1.1", b"GET * HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET ?x HTTP/1.1",
    b"GET http://a/first HTTP/1.1", b"GET HTTP://A/first HTTP/1.1", b"GET http://a:80/first HTTP/1.1",
    b"GET http://b/first HTTP/1.1", b"GET http://a:81/first HTTP/1.1", b"GET http://u@a/first HTTP/1.1",
    b"GET http://a@b/first HTTP/1.1", b"GET http://a HTTP/1.1", b"GET http:///first HTTP/1.1",
    b"GET http:/first HTTP/1.1", b"GET https://a/first HTTP/1.1", b"GET ftp://a/first HTTP/1.1",
    b"GET http://a:x/first HTTP/1.1", b"GET http://a:99999/first HTTP/1.1", b"GET a:80 HTTP/1.1",
    b"GET http://a\\b/first HTTP/1.1", b"CONNECT a:80 HTTP/1.1", b"CONNECT a HTTP/1.1",
    b"CONNECT /first HTTP/1.1", b"CONNECT a:0 HTTP/1.1", b"\r\nGET /first HTTP/1.1",
    b"\r\n\r\nGET /first HTTP/1.1", b"\nGET /first HTTP/1.1", b"\rGET /first HTTP/1.1",
    b"\x00GET /first HTTP/1.1", b"PRI * HTTP/2.0",
]
# Fields in place of "Host: a".
HOSTS = [
    b"", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nHost: b\r\n", b"Host: a, b\r\n", b"Host:\r\n",
    b"Host: \r\n", b"Host : a\r\n", b" Host: a\r\n", b"Host: a b\r\n", b"Host: a\r\n b\r\n",
    b"Host: u@a\r\n", b"Host: a/b\r\n", b"Host: a:80\r\n", b"Host: a:x\r\n", b"Host: a:99999\r\n",
    b"Host: a:\r\n", b"Host: a:0\r\n", b"Host: a:80:80\r\n", b"Host: [::1]\r\n", b"Host: [::1]:80\r\n",
    b"Host: [::1\r\n", b"Host: a\x00b\r\n", b"Host: a?b\r\n", b"Host: a#b\r\n", b"Host: \xc3\xbc\r\n",
    b"Host: a\tb\r\n", b"HOST: a\r\n", b"Host:a\r\n", b"Host: \ta\t\r\n", b"X: y\nHost: a\r\n",
    b"Host: a%00\r\n", b"Host: a..b\r\n", b"Host=a\r\n", b"Host: a\nX: y\r\n", b"Host: \"a\"\r\n",
]
# Whole connections.
WHOLE = {
    "cl.te": POST + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(SMUGGLED)) + SMUGGLED,
    "te.cl": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "te.cl with a request inside": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n",
    "cl.te identity": POST + b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\nhello",
    "cl.te unknown": POST + b"Content-Length: 5\r\nTransfer-Encoding: x\r\n\r\nhello",
    "te.te": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n" + CHUNKS,
    "te.te other order": POST + b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "te.te twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "te.te identity": POST + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "cl.cl same": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "cl.cl shorter": POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello",
    "cl.cl longer": POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "cl.cl other case": POST + b"Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "cl.0": POST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "get with a body": GET + b"Content-Length: 5\r\n\r\nhello",
    "get with chunks": GET + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "head with a body": b"HEAD /first HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "connect with a body": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello",
    "connect with chunks": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "http/1.0 with chunks": b"POST /first HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "http/1.0 with chunks and length": b"POST /first HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    "http/1.0 kept": b"GET /first HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    "http/1.0 not kept": b"GET /first HTTP/1.0\r\nHost: a\r\n\r\n",
    "http/1.0 without host": b"GET /first HTTP/1.0\r\n\r\n",
    "close": GET + b"Connection: close\r\n\r\n",
    "close in a list": GET + b"Connection: foo, close\r\n\r\n",
    "close and keep-alive": GET + b"Connection: keep-alive, close\r\n\r\n",
    "connection names length": POST + b"Connection: content-length\r\nContent-Length: 5\r\n\r\nhello",
    "connection names coding": POST + b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "connection names host": GET + b"Connection: host\r\n\r\n",
    "content_length": POST + b"Content_Length: 5\r\n\r\n",
    "transfer_encoding": POST + b"Transfer_Encoding: chunked\r\n\r\n",
    "bare lf everywhere": b"GET /first HTTP/1.1\nHost: a\n\n",
    "bare lf at the end of the head": b"GET /first HTTP/1.1\r\nHost: a\r\n\n",
    "bare lf before a length": b"POST /first HTTP/1.1\r\nHost: a\nContent-Length: 5\r\n\r\nhello",
    "bare cr line end": b"GET /first HTTP/1.1\rHost: a\r\n\r\n",
    "cr cr lf": b"GET /first HTTP/1.1\r\r\nHost: a\r\n\r\n",
    "lf cr": b"GET /first HTTP/1.1\n\rHost: a\n\r\n\r",
    "folded field": GET + b"X: a\r\n b\r\n\r\n",
    "folded first": b"GET /first HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n",
    "folded empty line": GET + b" \r\n\r\n",
    "no colon": GET + b"abc\r\n\r\n",
    "empty name": GET + b": a\r\n\r\n",
    "nul in a value": GET + b"X: a\x00b\r\n\r\n",
    "vt in a value": GET + b"X: a\x0bb\r\n\r\n",
    "del in a value": GET + b"X: a\x7fb\r\n\r\n",
    "high bytes in a value": GET + b"X: \xc3\xbc\r\n\r\n",
    "high bytes in a name": GET + b"\xc3\xbc: x\r\n\r\n",
    "bracket in a name": GET + b"a[0]: x\r\n\r\n",
    "all token characters in a name": GET + b"!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n",
    "quote in a name": GET + b"a\"b: x\r\n\r\n",
    "upgrade": GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "upgrade with a body": POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
    "expect": POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "expect something else": POST + b"Expect: x\r\nContent-Length: 5\r\n\r\nhello",
    "te trailers": GET + b"TE: trailers\r\nConnection: TE\r\n\r\n",
    "empty line between": GET + b"\r\n\r\n",
    "two empty lines between": GET + b"\r\n\r\n\r\n",
    "cut head": GET,
    "cut body": POST + b"Content-Length: 500\r\n\r\nhello",
    "99 more fields": GET + b"".join(b"F%d: x\r\n" % i for i in range(95)) + b"\r\n",
    "500 more fields": GET + b"".join(b"F%d: x\r\n" % i for i in range(500)) + b"\r\n",
    "a field of 60000 bytes": GET + b"F: " + b"x" * 60000 + b"\r\n\r\n",
    "tls hello": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"x" * 100,
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "proxy header": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + GET + b"\r\n",
}


def all_cases():
    """{name: bytes}"""
    cases = {}
    for value in LENGTHS:
        cases[f"length {value!r}"] = POST + b"Content-Length:" + (value[:1].isdigit() and b" " or b"") + value + b"\r\n\r\n" + FIVE + CANARY
    for value in CODINGS:
        field = b"Transfer-Encoding: " + value + b"\r\n\r\n"
        cases[f"coding {value!r}"] = POST + field + CHUNKS + CANARY
        cases[f"length and coding {value!r}"] = POST + b"Content-Length: %d\r\n" % len(CHUNKS) + field + CHUNKS + CANARY
    for spelling in NAMES:
        cases[f"name of length {spelling!r}"] = POST + spelling % b"Content-Length" + b"5\r\n\r\n" + FIVE + CANARY
        cases[f"name of coding {spelling!r}"] = POST + spelling % b"Transfer-Encoding" + b"chunked\r\n\r\n" + CHUNKS + CANARY
        cases[f"name of coding {spelling!r} and a length"] = (
            POST + b"Content-Length: %d\r\n" % len(CHUNKS) + spelling % b"Transfer-Encoding" + b"chunked\r\n\r\n" + CHUNKS + CANARY)
    for body in BODIES:
        cases[f"chunks {body!r}"] = POST + b"Transfer-Encoding: chunked\r\n\r\n" + body + CANARY
    for line in LINES:
        cases[f"line {line!r}"] = line + b"\r\nHost: a\r\n\r\n" + CANARY
    for field in HOSTS:
        cases[f"host {field!r}"] = b"GET /first HTTP/1.1\r\n" + field + b"\r\n" + CANARY
    for name, text in WHOLE.items():
        cases[name] = text + (b"" if name.startswith(("cut", "tls")) else CANARY)
    return cases
