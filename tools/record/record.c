#include "controlplane/domain/check.h"
#include "dataplane/doors/proxy_protocol.h"
#include "dataplane/doors/socks5.h"
#include "lib/http1/http1.h"
#include "lib/json/json.h"
#include "lib/mux/mux.h"
#include "lib/policy/acl.h"
#include "lib/state/agentpolicy.h"
#include "lib/state/join.h"
#include "lib/state/record_codec.h"
#include "lib/state/state.h"
#include "lib/tunnel/hello.h"
#include "lib/ws/ws.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
/*
 * record.c - keeps what the parsers of a running Adit are given, as inputs of their fuzzers.
 *
 * Linked into programs with --wrap of each parser here (tools/fuzz-record); a call goes on to the
 * parser as it came.  An input is a file of RECORD_DIR/<fuzzer>/, named by its hash, in the form
 * that the fuzzer wants: one with a choice has it as first byte.
 */
#define BYTES_MAX 4096      /* longer ones are left out: seeds are small */
#define FILES_MAX 4000      /* of a process */

static void keep(const char *fuzzer, const char *choice, struct span input)
{
    static unsigned count;
    char path[600];
    uint64_t hash = 14695981039346656037u;
    int fd;

    if (!input.n || input.n > BYTES_MAX || __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED) > FILES_MAX * 10)
        return;
    for (size_t i = 0; i < input.n; i++)
        hash = (hash ^ (unsigned char)input.p[i]) * 1099511628211u;
    snprintf(path, sizeof(path), RECORD_DIR "/%s/%02x%016lx", fuzzer, choice ? (unsigned char)*choice : 0xff, hash);
    fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (choice && write(fd, choice, 1) != 1)
        unlink(path);
    else if (write(fd, input.p, input.n) != (ssize_t)input.n)
        unlink(path);
    close(fd);
}

/* A parser with its parameters, their names, and what is kept of a call; weak: not each program has
 * each parser. */
#define WRAP(type, name, parameters, arguments, ...)      \
    type __real_##name parameters __attribute__((weak));  \
    type __wrap_##name parameters;                        \
    type __wrap_##name parameters                         \
    {                                                     \
        __VA_ARGS__;                                      \
        return __real_##name arguments;                   \
    }

WRAP(bool, addr_parse, (struct span text, struct addr *ret), (text, ret), keep("addr", NULL, text))
WRAP(bool, cidr_parse, (struct span text, struct cidr *ret), (text, ret), keep("addr", NULL, text))
WRAP(bool, endpoint_parse, (struct span text, struct endpoint *ret), (text, ret), keep("addr", NULL, text))
WRAP(bool, host_canonical, (struct span text, char *dst), (text, dst), keep("addr", NULL, text))
WRAP(bool, authority_parse, (struct span text, uint16_t port, struct span *ret_host, uint16_t *ret_port),
     (text, port, ret_host, ret_port), keep("addr", NULL, text))

WRAP(enum check_result, check_text,
     (enum leaf leaf, const struct check_limits *limits, struct span text, struct buf *out, const char **ret),
     (leaf, limits, text, out, ret), keep("check", (char[]){ (char)leaf }, text))

WRAP(int, hello_decode, (struct span json, bool is_accepting, struct tunnel_hello *ret, struct json_error *reterr),
     (json, is_accepting, ret, reterr), keep("hello", NULL, json))

WRAP(int, http1_body_take, (struct http1_body *b, struct span in, size_t *ret_bytes, struct span *ret_data),
     (b, in, ret_bytes, ret_data),
     if (b->framing == HTTP1_BODY_CHUNKED && !b->state) keep("http1_chunked", NULL, in))
WRAP(int, http1_request_parse, (struct http1_scan *scan, struct span in, struct http1_head *ret), (scan, in, ret),
     keep("http1_request", NULL, in))
WRAP(int, http1_response_parse,
     (struct http1_scan *scan, struct span in, struct span method, struct http1_head *ret), (scan, in, method, ret),
     keep("http1_response", span_eq(method, SPAN("HEAD")) ? "\1" : span_eq(method, SPAN("CONNECT")) ? "\2" : "\3", in))

WRAP(int, json_parse, (struct span text, struct json_value **ret, struct json_error *reterr), (text, ret, reterr),
     keep("json", NULL, text))
WRAP(int, json_decode_text,
     (struct span text, const struct json_field *fields, size_t count, unsigned flags, void *out, struct json_error *e),
     (text, fields, count, flags, out, e), keep("json", NULL, text))

/* One frame for its decoder; and a link's, told to its accepting side, each after a byte that lets
 * the program write and the clock go on. */
static void keep_frames(struct span bytes)
{
    static char link[BYTES_MAX];
    size_t at = 1, n;

    link[0] = 1;
    for (struct span rest = bytes; rest.n >= 8; rest = span_skip(rest, n)) {
        n = 8 + ((size_t)(unsigned char)rest.p[2] << 8 | (unsigned char)rest.p[3]);
        if (n > rest.n)
            return;
        keep("mux_frame", NULL, span_first(rest, n));
        if (at + 1 + n > sizeof(link))
            break;
        link[at] = (char)0xc1;
        memcpy(link + at + 1, rest.p, n);
        at += 1 + n;
    }
    if (at > 1)
        keep("mux_link", NULL, span_of(link, at));
}
WRAP(int, mux_link_take, (struct mux_link *l, struct span bytes, bool is_last, uint64_t now_ms),
     (l, bytes, is_last, now_ms), keep_frames(bytes))

WRAP(int, acl_rule_parse, (struct span text, struct acl_rule *ret), (text, ret), keep("policy", NULL, text))
WRAP(bool, target_parse, (struct span host, uint16_t port, struct target *ret), (host, port, ret),
     keep("policy", NULL, host))

WRAP(int, proxy_protocol_parse, (struct span in, struct proxy_protocol *ret), (in, ret), keep("proxy_protocol", NULL, in))
WRAP(int, socks5_greeting_parse, (struct span in, struct socks5_greeting *ret), (in, ret), keep("socks5", "\0", in))
WRAP(int, socks5_password_parse, (struct span in, struct socks5_password *ret), (in, ret), keep("socks5", "\1", in))
WRAP(int, socks5_request_parse, (struct span in, struct socks5_request *ret), (in, ret), keep("socks5", "\2", in))
WRAP(int, socks5_datagram_parse, (struct span in, struct socks5_datagram *ret), (in, ret),
     keep("socks5_datagram", NULL, in))

WRAP(int, state_apply,
     (const struct document *d, const struct keyset *keys, const struct policy *base, const struct state_position *at,
      struct policy **ret_policy, struct state_position *ret_position, struct state_error *reterr),
     (d, keys, base, at, ret_policy, ret_position, reterr),
     keep("state", d->kind == DOCUMENT_DELTA ? "d" : "s", d->bytes))
WRAP(int, document_cut, (struct span *rest, struct document *ret, struct state_error *reterr), (rest, ret, reterr),
     keep("state", "r", *rest))
WRAP(int, record_decode,
     (enum record_kind kind, struct span id, struct span json, struct record **ret, struct state_error *reterr),
     (kind, id, json, ret, reterr), keep("state", (char[]){ (char)('0' + kind) }, json))
WRAP(int, join_token_parse, (struct span text, struct join_token *ret), (text, ret), keep("state", "j", text))

WRAP(int, ws_parser_take, (struct ws_parser *p, struct span in, size_t *ret_bytes, struct ws_event *ret),
     (p, in, ret_bytes, ret), if (!p->header_have && !p->left) keep("ws", p->options.is_server ? "R" : "P", in))
