#include "cli/login_provider.h"
#include "cli/command.h"
#include "lib/base/encode.h"
#include "lib/crypto/digest.h"
#include "lib/crypto/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 4096, HEAD_MS = 3000, VERIFIER_LEN = 43, CODE_MAX = 1024 };

struct visit {
    const char *provider;
    int listener;
    unsigned port;
    char verifier[VERIFIER_LEN + 1], challenge[VERIFIER_LEN + 1];
    char code[CODE_MAX + 1];
};

static void visit_deinit(struct visit *v)
{
    fd_closep(&v->listener);
    explicit_bzero(v, sizeof(*v));
}

static void encode(struct span bytes, char text[VERIFIER_LEN + 1])
{
    struct buf out;

    buf_init_fixed(&out, text, VERIFIER_LEN);
    base64url_encode(bytes, &out);
    text[VERIFIER_LEN] = '\0';
}

static int start(struct visit *v)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    unsigned char secret[SHA256_LEN], digest[SHA256_LEN];
    socklen_t len = sizeof(at);

    random_bytes(secret, sizeof(secret));
    encode(span_of(secret, sizeof(secret)), v->verifier);
    sha256(span_str(v->verifier), digest);
    encode(span_of(digest, sizeof(digest)), v->challenge);
    explicit_bzero(secret, sizeof(secret));
    v->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (v->listener < 0 || bind(v->listener, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(v->listener, 8) < 0 ||
        getsockname(v->listener, (struct sockaddr *)&at, &len) < 0)
        return -errno;
    v->port = ntohs(at.sin_port);
    return 0;
}

/* ---- the browser's visit ---- */
static bool is_readable(int fd, int64_t within_ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, within_ms > 0 ? (int)within_ms : 0) > 0;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The first line, or what came of it in time. */
static struct span read_line(int fd, char *mem, size_t size)
{
    int64_t end_ms = now_ms() + HEAD_MS;
    size_t len = 0;

    while (len < size && is_readable(fd, end_ms - now_ms())) {
        ssize_t n = read(fd, mem + len, size - len);

        if (n <= 0)
            break;
        len += (size_t)n;
        if (memmem(mem, len, "\r\n\r\n", 4))
            break;
    }
    return span_first(span_of(mem, len), span_find(span_of(mem, len), '\r'));
}

static bool take_code(struct span line, char code[CODE_MAX + 1])
{
    static const char set[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    static const char before[] = "GET /?code=";
    struct span rest = span_skip(line, sizeof(before) - 1), text;

    if (!span_starts(line, span_str(before)) || !span_cut(&rest, ' ', &text) || !text.n)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (!text.p[i] || !strchr(set, text.p[i]))
            return false;
    }
    return span_copy(text, code, CODE_MAX + 1);
}

static void answer_visit(int fd, bool is_taken)
{
    const char *text = is_taken ? "Logged in: this page can be closed.\n" : "There is nothing here.\n";
    char head[256];
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
                     "Connection: close\r\n\r\n%s", is_taken ? "200 OK" : "404 Not Found", strlen(text), text);

    if (n > 0 && write(fd, head, (size_t)n) < 0)
        return;                         /* the page is a courtesy */
    shutdown(fd, SHUT_WR);
}

static bool wait_for_code(struct visit *v)
{
    int64_t end_ms = now_ms() + PROVIDER_WAIT_MS;
    char mem[HEAD_MAX];

    for (unsigned i = 0; i < PROVIDER_VISITS_MAX && !v->code[0]; i++) {
        AUTO(fd_closep) int fd = -1;

        if (!is_readable(v->listener, end_ms - now_ms()))
            break;
        fd = accept4(v->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            answer_visit(fd, take_code(read_line(fd, mem, sizeof(mem)), v->code));
    }
    explicit_bzero(mem, sizeof(mem));
    return v->code[0] != '\0';
}

/* ---- the code for a session ---- */
static bool redeem(struct api *api, const struct visit *v, struct api_answer *ret_answer)
{
    char mem[1024], path[256], error_mem[1024];
    struct buf body, where, error;
    struct json_writer w;
    int r;

    buf_init_fixed(&body, mem, sizeof(mem));
    buf_init_fixed(&where, path, sizeof(path) - 1);
    buf_init_fixed(&error, error_mem, sizeof(error_mem) - 1);
    json_begin(&w, &body);
    json_open_object(&w, NULL);
    json_put_text(&w, "code", v->code);
    json_put_text(&w, "verifier", v->verifier);
    json_close_object(&w);
    buf_put_str(&where, "/api/v1/identity-providers/");
    api_escape(span_str(v->provider), &where);
    buf_put_str(&where, "/redeem");
    r = buf_error(&body) ? buf_error(&body)
                         : api_call(api, "POST", buf_text(&where), buf_span(&body), ret_answer, &error);
    explicit_bzero(mem, sizeof(mem));
    if (r)
        command_complain("%s", error.len ? buf_text(&error) : strerror(-r));
    return r == 0;
}

bool login_by_provider(struct api *api, const char *provider, struct api_answer *ret_answer)
{
    AUTO(visit_deinit) struct visit v = { .provider = provider, .listener = -1 };
    char mem[256];
    struct buf name;
    int r = start(&v);

    if (r) {
        command_complain("cannot listen on 127.0.0.1: %s", strerror(-r));
        return false;
    }
    buf_init_fixed(&name, mem, sizeof(mem) - 1);
    api_escape(span_str(provider), &name);
    fprintf(stderr, "Open this page in a browser on this machine (from elsewhere: ssh -L %u:127.0.0.1:%u):\n\n"
                    "  %s/api/v1/identity-providers/%s/log-in?port=%u&challenge=%s\n\n",
            v.port, v.port, api_url(api), buf_text(&name), v.port, v.challenge);
    if (wait_for_code(&v))
        return redeem(api, &v, ret_answer);
    command_complain("nobody came with a code within ten minutes");
    return false;
}
