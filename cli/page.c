/* adit demo-page: serves the demo page on a Unix socket; run and kept running by adit up. */
#include "cli/page.h"

#include "cli/api.h"
#include "cli/command.h"
#include "cli/demo.h"
#include "lib/base/encode.h"
#include "lib/crypto/file.h"
#include "lib/crypto/random.h"
#include "lib/http1/http1.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { SERVERS = 4, BACKLOG = 64, PATIENCE_S = 5, ASK_MS = 1000, HEAD_MAX = 8192, REQUESTS_MAX = 100 };

#define PAGE_OPTIONS(X)                                                                    \
    X(PATH, socket, "", 0, 0, OPTION_REQUIRED, "Unix socket to serve on")                  \
    X(STR, api, "https://127.0.0.1:8443", 0, 0, 0, "the control plane's REST API")         \
    X(PATH, ca_file, "var/ca.pem", 0, 0, 0, "what its certificate is checked against")     \
    X(PATH, token_file, "var/credentials", 0, 0, 0, "file with an API token")

struct page_config { PAGE_OPTIONS(OPTION_FIELD) };
#define ROW(...) OPTION_ROW_OF(struct page_config, __VA_ARGS__)
static const struct option_row rows[] = { PAGE_OPTIONS(ROW) };
static const struct option_table table = {
    "adit demo-page", "ADIT_DEMO_PAGE_", "Serves the demo page on a Unix socket.", rows,
    ARRAY_LEN(rows),
};

struct server {                 /* one thread: one connection at a time */
    int listen_fd;
    const char *nonce;
    struct api *api;
};

void page_write(const struct page_facts *facts, struct buf *out)
{
    buf_put_str(out, "Hello from a page on a Unix socket that only the agent can reach.\n\n");
    buf_printf(out, "  nonce   %s  (made when this page started)\n", facts->nonce);
    if (facts->agent[0]) {
        buf_printf(out, "  grant   %s\n", facts->grant);
        buf_printf(out, "  agent   %s", facts->agent);
    } else {
        buf_printf(out, "  grant   not known now: %s\n  agent   not known now", facts->problem);
    }
    if (facts->peer)
        buf_printf(out, "; process %d (%s) is at the other end of this socket", (int)facts->peer,
                   facts->peer_name);
    buf_put_u8(out, '\n');
}

/* Which process is at the other end: the kernel says so. */
static void learn_peer(int fd, struct page_facts *facts)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    char path[64], exe[256];
    ssize_t n;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return;
    snprintf(path, sizeof(path), "/proc/%d/exe", peer.pid);
    n = readlink(path, exe, sizeof(exe) - 1);
    if (n <= 0)
        return;
    exe[n] = '\0';
    facts->peer = peer.pid;
    snprintf(facts->peer_name, sizeof(facts->peer_name), "%.63s", strrchr(exe, '/') + 1);
}

/* The name of an object, out of its id. */
static void learn_name(struct api *a, const char *kind, struct span id, char *dst, size_t size)
{
    struct api_answer answer = { 0 };
    struct span name;
    struct buf ignored;
    char path[128], mem[256];

    buf_init_fixed(&ignored, mem, sizeof(mem));
    snprintf(path, sizeof(path), "/api/v1/%s/" SPAN_FMT, kind, SPAN_ARG(span_first(id, 64)));
    if (api_call(a, "GET", path, SPAN_NONE, &answer, &ignored) || !api_is_ok(&answer) ||
        !json_get_str(answer.body, "name", &name) || !span_copy(name, dst, size))
        span_copy(id, dst, size);
    api_answer_deinit(&answer);
}

static void learn_decision(struct api *a, struct page_facts *facts)
{
    static const char path[] = "/api/v1/access/explain?user=" DEMO_USER "&host=" DEMO_HOST "&port=80";
    struct api_answer answer = { 0 };
    struct span grant, agent;
    struct buf problem;

    buf_init_fixed(&problem, facts->problem, sizeof(facts->problem) - 1);
    if (api_call(a, "GET", path, SPAN_NONE, &answer, &problem) == 0) {
        if (!api_is_ok(&answer)) {
            api_problem(&answer, &problem);
        } else if (json_get_str(answer.body, "grant", &grant) &&
                   json_get_str(answer.body, "agent", &agent)) {
            learn_name(a, "grants", grant, facts->grant, sizeof(facts->grant));
            learn_name(a, "agents", agent, facts->agent, sizeof(facts->agent));
        } else {
            buf_put_str(&problem, "the control plane sees no agent");
        }
    }
    api_answer_deinit(&answer);
    buf_text(&problem);
}

/* Reads until a whole head stands in `mem`.  0, an http1_error, or -errno (-EPIPE: gone). */
static int read_head(int fd, char *mem, size_t *len, struct http1_head *ret_head)
{
    struct http1_scan scan = { .limit = HEAD_MAX };

    for (;;) {
        int r = http1_request_parse(&scan, span_of(mem, *len), ret_head);
        ssize_t n;

        if (r != HTTP1_E_MORE)
            return r;
        n = recv(fd, mem + *len, HEAD_MAX - *len, 0);
        if (n <= 0)
            return n < 0 ? -errno : -EPIPE;
        *len += (size_t)n;
    }
}

static int send_all(int fd, struct span bytes)
{
    while (bytes.n) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);

        if (n <= 0)
            return n < 0 ? -errno : -EPIPE;
        bytes = span_skip(bytes, (size_t)n);
    }
    return 0;
}

static void write_page(struct server *s, int fd, const struct http1_head *head, bool close,
                       struct buf *out)
{
    static const struct http1_field fields[] = { { SPAN("Cache-Control"), SPAN("no-store") } };
    struct page_facts facts = { .nonce = s->nonce };
    struct http1_answer answer = {
        .status = 200, .set = fields, .set_count = ARRAY_LEN(fields), .close = close,
        .head_only = span_eq(head->method, SPAN("HEAD")),
    };
    struct buf text;
    char mem[2048];

    buf_init_fixed(&text, mem, sizeof(mem));
    if (span_eq(head->method, SPAN("GET")) || answer.head_only) {
        learn_peer(fd, &facts);
        learn_decision(s->api, &facts);
        page_write(&facts, &text);
    } else {
        answer.status = 405;
        buf_put_str(&text, "GET and HEAD only\n");
    }
    answer.body = buf_span(&text);
    http1_write_answer(out, &answer);
}

/* One request; true when another may follow on the connection. */
static bool serve_request(struct server *s, int fd, char *mem, size_t *len)
{
    struct http1_head head;
    struct buf out;
    char answer[4096];
    int r = read_head(fd, mem, len, &head);
    bool close = r != 0 || !head.keep_alive || head.framing != HTTP1_BODY_NONE;

    if (r < 0)
        return false;
    buf_init_fixed(&out, answer, sizeof(answer));
    if (r)
        http1_write_refusal(&out, r);
    else
        write_page(s, fd, &head, close, &out);
    if (buf_error(&out) || send_all(fd, buf_span(&out)) || close)
        return false;
    *len -= head.bytes;
    memmove(mem, mem + head.bytes, *len);
    return true;
}

static void serve_connection(struct server *s, int fd)
{
    const struct timeval patience = { .tv_sec = PATIENCE_S };
    char mem[HEAD_MAX];
    size_t len = 0;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    for (int n = 0; n < REQUESTS_MAX && serve_request(s, fd, mem, &len); n++)
        ;
}

static void *serve(void *user)
{
    struct server *s = user;

    for (;;) {
        AUTO(fd_closep) int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0)
            serve_connection(s, fd);
        else if (errno != EINTR && errno != ECONNABORTED)
            return NULL;
    }
}

/* Only this user's processes may connect: the agent runs as the same user. */
static int listen_on(const char *path)
{
    AUTO(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    mode_t mask;
    int r;

    if (fd < 0)
        return -errno;
    if (!span_copy(span_str(path), at.sun_path, sizeof(at.sun_path)))
        return -ENAMETOOLONG;
    unlink(path);
    mask = umask(0177);
    r = bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? -errno : 0;
    umask(mask);
    if (r == 0 && listen(fd, BACKLOG) < 0)
        r = -errno;
    return r ? r : TAKE_FD(fd);
}

static void make_nonce(char *dst, size_t size)
{
    unsigned char bytes[16];
    struct buf text;

    random_bytes(bytes, sizeof(bytes));
    buf_init_fixed(&text, dst, size);
    hex_encode(span_of(bytes, sizeof(bytes)), &text);
    buf_text(&text);
}

static int run_servers(const struct page_config *config, int listen_fd, const char *nonce)
{
    struct server servers[SERVERS];
    pthread_t threads[SERVERS];
    char token[512];
    struct buf text;
    int r;

    buf_init_fixed(&text, token, sizeof(token) - 1);
    r = api_token_read(config->token_file, &text);
    for (size_t i = 0; i < SERVERS && !r; i++) {
        servers[i] = (struct server){ .listen_fd = listen_fd, .nonce = nonce };
        r = api_new(config->api, config->ca_file, buf_text(&text), &servers[i].api);
        if (r == 0)
            api_set_timeout(servers[i].api, ASK_MS);
    }
    explicit_bzero(token, sizeof(token));
    for (size_t i = 0; i < SERVERS && !r; i++)
        r = -pthread_create(&threads[i], NULL, serve, &servers[i]);
    for (size_t i = 0; i < SERVERS && !r; i++)
        pthread_join(threads[i], NULL);
    return r;
}

int page_command(int argc, char **argv)
{
    struct page_config config = { 0 };
    AUTO(fd_closep) int fd = -1;
    struct command_words words;
    char nonce[40];
    int code, r;

    if (!command_load(&table, argc, argv, &config, &words, &code))
        return code;
    make_nonce(nonce, sizeof(nonce));
    fd = listen_on(config.socket);
    r = fd < 0 ? fd : run_servers(&config, fd, nonce);
    command_complain("demo page on %s: %s", config.socket, strerror(-r));
    option_free(&table, &config);
    return EXIT_NOT;
}
