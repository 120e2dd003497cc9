// room: agent/uplink
/*
 * crowd - many agents in one process, each with a key, a certificate, TLS, a WebSocket and a
 * session of its own, by the libraries that agents use.  They do nothing but stay.
 *
 *   crowd COUNT AT_ONCE < TOKENS    join tokens, one a line, with uses enough for all of them
 *
 * Joins COUNT agents, AT_ONCE at a time, then dials with each one's certificate.  Says "up N"
 * when all are there, then waits until its input ends or an agent is lost: "end {JSON}".
 */
#include "agent/uplink/notice.h"
#include "agent/uplink/way.h"
#include "lib/base/encode.h"
#include "lib/base/version.h"
#include "lib/crypto/ca.h"
#include "lib/crypto/random.h"
#include "lib/net/loop.h"
#include "lib/tunnel/client/tunnel_client.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define TOKENS_MAX 16
#define TRIES_MAX 5
#define WATCH_MS 200

struct fake {
    struct loop_timer next;
    struct mux *mux;
    struct tls_ctx *tls;
    struct tunnel *tunnel;
    struct key *key;
    struct chain *chain;
    struct identity self;
    struct ulid boot_id;
    char *csr, *mac;
    unsigned tries;
    bool is_joined, is_up;
};

static struct {
    struct loop *loop;
    struct resolver *resolver;
    struct join_token tokens[TOKENS_MAX];
    struct trust trust;
    size_t token_count, count, begun, at_once, joined, up, lost, failed;
    struct fake *all;
    struct loop_timer watch;
    bool is_whole;
    char last[300];             /* why the last one ended */
} w;

static void must(int r, const char *what)
{
    if (!r)
        return;
    fprintf(stderr, "crowd: %s: %s\n", what, strerror(r < 0 ? -r : r));
    exit(1);
}

static const struct join_token *token_of(const struct fake *f)
{
    return &w.tokens[(size_t)(f - w.all) * w.token_count / w.count];
}

static void begin_next(void);
static void fake_dial(void *arg);

/* --- joining ----------------------------------------------------------------------------- */
static void make_request(struct fake *f)
{
    const struct join_token *token = token_of(f);
    unsigned char der[CSR_DER_MAX];
    struct buf csr, text;

    buf_init_fixed(&csr, der, sizeof(der));
    buf_init_heap(&text, 2 * CSR_DER_MAX);
    must(key_generate(&f->key), "key");
    must(csr_make(f->key, &csr), "request");
    base64url_encode(buf_span(&csr), &text);
    f->csr = strdup(buf_text(&text));
    f->mac = calloc(1, JOIN_MAC_LEN + 1);
    if (!f->csr || !f->mac)
        must(-ENOMEM, "request");
    join_mac(token->secret, &token->id, buf_span(&csr), f->mac);
    buf_deinit(&text);
}

static void take_certificate(struct fake *f, struct span body)
{
    AUTO(freep) char *pem = NULL;
    AUTO(buf_deinit) struct buf why = { 0 };

    buf_init_heap(&why, 1024);
    must(notice_chain(body, &pem, &why), "certificate");
    must(chain_parse_pem(span_str(pem), &f->chain), "certificate");
    must(chain_identity(f->chain, &f->self), "certificate");
    f->is_joined = true;
    w.joined++;
    free(TAKE(f->csr));
    free(TAKE(f->mac));
}

/* --- life ---------------------------------------------------------------------------------- */
static void on_notice(void *user, struct tunnel *t, unsigned kind, uint64_t revision, struct span body)
{
    struct fake *f = user;

    (void)revision;
    if (kind != TUNNEL_NOTICE_CERTIFICATE || f->is_joined)
        return;
    take_certificate(f, body);
    tunnel_close(t, REASON_NONE, "joined");
}

static void on_up(void *user, struct tunnel *t)
{
    struct fake *f = user;

    (void)t;
    if (!f->is_joined)
        return;
    f->is_up = true;
    w.up++;
    begin_next();
    if (w.up == w.count && !w.is_whole) {
        w.is_whole = true;
        printf("up %zu\n", w.up);
        fflush(stdout);
    }
}

/* Joined: again, with the certificate.  Else a try that failed, or an agent that was lost. */
static void on_down(void *user, struct tunnel *t, enum reason why, const char *text)
{
    struct fake *f = user;

    (void)t;
    f->tunnel = NULL;
    if (f->is_joined && !f->chain)
        return;
    if (f->is_up || why != REASON_NONE || !f->is_joined)
        snprintf(w.last, sizeof(w.last), "%s: %s", reason_text(why), text ? text : "");
    if (f->is_up) {
        f->is_up = false;
        w.up--;
        w.lost++;
    } else if (why != REASON_NONE || !f->is_joined) {
        w.failed++;
        f->tries++;
    }
    if (f->tries < TRIES_MAX)
        timer_start(w.loop, &f->next, f->tries ? 500 + random_u64() % 2000 : 0, fake_dial, f);
}

static const struct tunnel_handlers events = {
    .on_notice = on_notice,
    .on_up = on_up,
    .on_down = on_down,
};

static void make_tls(struct fake *f)
{
    const struct way way = { 0 };
    AUTO(buf_deinit) struct buf why = { 0 };

    buf_init_heap(&why, 1024);
    if (f->tls)
        tls_ctx_unref(TAKE(f->tls));
    must(way_tls(&way, &w.trust, f->chain, f->is_joined ? f->key : NULL, &f->tls, &why), "TLS");
}

static void fake_dial(void *arg)
{
    struct fake *f = arg;
    const struct tunnel_self self = { .id = f->self.id, .name = f->is_joined ? "crowd" : "joining",
                                      .software = "adit-crowd/" ADIT_VERSION, .platform = "linux",
                                      .boot_id = f->boot_id, .starts = 1, .streams_max = 1000 };
    const struct tunnel_login login = { .kind = f->is_joined ? TUNNEL_CERTIFICATE : TUNNEL_JOIN,
                                        .token_id = token_of(f)->id.text, .csr = f->csr, .mac = f->mac,
                                        .chain = f->chain, .key = f->key };
    struct tunnel_dial dial = { .loop = w.loop, .resolver = w.resolver, .mux = f->mux, .self = &self,
                                .login = &login, .handlers = &events, .user = f };
    AUTO(buf_deinit) struct buf why = { 0 };
    char host[RELAY_HOST_MAX];

    make_tls(f);
    dial.tls = f->tls;
    buf_init_heap(&why, 1024);
    must(relay_address_parse(token_of(f)->addrs[0], host, &dial.port, &why), "address");
    dial.host = host;
    must(tunnel_dial(&dial, &f->tunnel), "dial");
}

static void begin_next(void)
{
    struct mux_handlers handlers = { 0 };
    const struct mux_config mux = { .memory_limit = 1 << 20, .streams_max = 1000, .random_seed = random_u64() };
    struct fake *f;

    if (w.begun == w.count)
        return;
    f = &w.all[w.begun++];
    f->boot_id = random_ulid(wall_ms());
    tunnel_fill_handlers(&handlers);
    f->mux = mux_new(&mux, &handlers);
    if (!f->mux)
        must(-ENOMEM, "mux");
    make_request(f);
    fake_dial(f);
}

/* --- the whole ----------------------------------------------------------------------------- */
static bool has_input_ended(void)
{
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
    char sink[64];

    return poll(&in, 1, 0) == 1 && read(STDIN_FILENO, sink, sizeof(sink)) <= 0;
}

static void say_end(void)
{
    printf("end {\"joined\":%zu,\"up\":%zu,\"lost\":%zu,\"failed\":%zu,\"last\":\"%s\"}\n", w.joined, w.up,
           w.lost, w.failed, w.last);
    fflush(stdout);
    _exit(w.up == w.count && !w.lost ? 0 : 1);
}

static void on_watch(void *arg)
{
    (void)arg;
    if (has_input_ended())
        say_end();
    timer_start(w.loop, &w.watch, WATCH_MS, on_watch, NULL);
}

static void read_tokens(void)
{
    char line[JOIN_TOKEN_MAX];

    while (w.token_count < TOKENS_MAX && fgets(line, sizeof(line), stdin) && line[0] != '\n') {
        must(join_token_parse(span_first(span_str(line), strcspn(line, "\n")), &w.tokens[w.token_count]), "token");
        w.token_count++;
    }
    must(w.token_count ? 0 : -EINVAL, "no token");
    memcpy(w.trust.cluster, w.tokens[0].cluster, sizeof(w.trust.cluster));
    memcpy(w.trust.pin, w.tokens[0].pin, sizeof(w.trust.pin));
}

static void allow_descriptors(void)
{
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < w.count + 64)
        must(-EMFILE, "more agents than descriptors");
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    w.count = strtoul(argv[1], NULL, 10);
    w.at_once = strtoul(argv[2], NULL, 10);
    w.all = calloc(w.count ? w.count : 1, sizeof(*w.all));
    if (!w.count || !w.at_once || !w.all)
        return 2;
    allow_descriptors();
    read_tokens();
    must(loop_new(&w.loop), "loop");
    must(resolver_new(w.loop, &(struct resolver_config){ 0 }, &w.resolver), "resolver");
    for (size_t i = 0; i < w.at_once; i++)
        begin_next();
    timer_start(w.loop, &w.watch, WATCH_MS, on_watch, NULL);
    loop_run(w.loop);
    return 1;
}
