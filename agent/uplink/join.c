#include "agent/uplink/join.h"
#include "agent/uplink/notice.h"
#include "lib/base/encode.h"
#include "lib/base/version.h"
#include "lib/crypto/ca.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include "lib/tunnel/client/tunnel_client.h"
#include <errno.h>
#include <string.h>

struct join {
    struct loop *loop;
    struct resolver *resolver;
    struct mux *mux;
    struct tls_ctx *tls;
    struct key *key;
    const struct join_token *token;
    const struct way *way;
    struct member *member;
    struct buf *reterr;
    char csr[2 * CSR_DER_MAX], mac[JOIN_MAC_LEN + 1];
    bool has_certificate, is_over, is_refused;
};

static void join_deinit(struct join *j)
{
    if (j->mux)
        mux_free(j->mux);
    if (j->tls)
        tls_ctx_unref(j->tls);
    if (j->resolver)
        resolver_free(j->resolver);
    if (j->key)
        key_free(j->key);
    if (j->loop)
        loop_free(j->loop);
}

static void on_notice(void *user, struct tunnel *t, unsigned kind, uint64_t revision, struct span body)
{
    struct join *j = user;
    AUTO(freep) char *pem = NULL;

    (void)revision;
    if (kind != TUNNEL_NOTICE_CERTIFICATE || j->has_certificate)
        return;

    buf_clear(j->reterr);
    j->is_refused = notice_chain(body, &pem, j->reterr) ||
                    member_adopt(j->member, j->token, j->key, span_str(pem), (int64_t)(wall_ms() / 1000),
                                   j->reterr);
    j->has_certificate = !j->is_refused;
    tunnel_close(t, REASON_NONE, "joined");
}

static void explain(struct join *j, enum reason why, const char *text)
{
    buf_clear(j->reterr);
    buf_printf(j->reterr, "refused: %s ", reason_what(why));
    if (text && !strstr(text, reason_what(why)))
        buf_printf(j->reterr, "(%s) ", text);
    buf_printf(j->reterr, "%s See also: adit reason %s", reason_cure(why), reason_text(why));
}

/* The cluster itself said no: another of its relays would say the same. */
static bool is_final(enum reason why)
{
    static const enum reason all[] = { REASON_TOKEN_INVALID, REASON_TOKEN_USED, REASON_LOCKED, REASON_BAD_REQUEST };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i] == why)
            return true;
    }
    return false;
}

static bool ends_in_stop(const char *text)
{
    return text && text[0] && text[strlen(text) - 1] == '.';
}

/* Refusals come before the link is up: as its end. */
/* A link that never was has no session to lose. */
static const char *cure_of(enum reason why)
{
    return why == REASON_SESSION_LOST
               ? "Check that a relay listens at the addresses in the token and that this machine reaches them."
               : reason_cure(why);
}

static void on_down(void *user, struct tunnel *t, enum reason why, const char *text)
{
    struct join *j = user;

    (void)t;
    j->is_over = true;
    if (j->has_certificate || j->is_refused)
        return;
    j->is_refused = is_final(why);
    if (j->is_refused)
        explain(j, why, text);
    else if (j->reterr->len == 0 && why != REASON_NONE)
        buf_printf(j->reterr, "%s%s %s See also: adit reason %s", text ? text : "The connection ended",
                   ends_in_stop(text) ? "" : ".", cure_of(why), reason_text(why));
    else if (j->reterr->len == 0)
        buf_put_str(j->reterr, text ? text : "the connection ended");
}

static const struct tunnel_handlers events = {
    .on_notice = on_notice,
    .on_down = on_down,
};

static bool is_over(void *arg)
{
    return ((const struct join *)arg)->is_over;
}

static int make_request(struct join *j)
{
    AUTO(buf_deinit) struct buf der = { 0 };
    struct buf text;
    int r;

    buf_init_heap(&der, CSR_DER_MAX);
    r = key_generate(&j->key);
    if (!r)
        r = csr_make(j->key, &der);
    if (r)
        return r;

    buf_init_fixed(&text, j->csr, sizeof(j->csr));
    base64url_encode(buf_span(&der), &text);
    buf_text(&text);
    join_mac(j->token->secret, &j->token->id, buf_span(&der), j->mac);
    return buf_error(&text);
}

static int make_parts(struct join *j)
{
    struct mux_handlers handlers = { 0 };
    const struct mux_config mux = { .memory_limit = 1 << 20, .streams_max = 1, .random_seed = random_u64() };
    struct trust trust = { .cluster = "" };
    int r = loop_new(&j->loop);

    memcpy(trust.cluster, j->token->cluster, sizeof(trust.cluster));
    memcpy(trust.pin, j->token->pin, sizeof(trust.pin));
    if (!r)
        r = resolver_new(j->loop, &(struct resolver_config){ 0 }, &j->resolver);
    if (!r)
        r = way_tls(j->way, &trust, NULL, NULL, &j->tls, j->reterr);
    if (!r)
        r = make_request(j);
    if (r)
        return r;
    tunnel_fill_handlers(&handlers);
    j->mux = mux_new(&mux, &handlers);
    return j->mux ? 0 : -ENOMEM;
}

static int try_address(struct join *j, const char *addr, uint32_t timeout_ms)
{
    const struct tunnel_self self = { .name = "joining", .software = "adit-agent/" ADIT_VERSION, .platform = "linux",
                                      .boot_id = random_ulid(wall_ms()) };
    const struct tunnel_login login = { .kind = TUNNEL_JOIN, .token_id = j->token->id.text, .csr = j->csr,
                                        .mac = j->mac };
    struct tunnel_dial dial = { .loop = j->loop, .resolver = j->resolver,
                                .mux = j->mux, .proxy = j->way->proxy, .tls = j->tls,
                                .self = &self, .login = &login, .handlers = &events, .user = j };
    struct tunnel *t;
    char name[RELAY_HOST_MAX];
    int r;

    buf_clear(j->reterr);
    r = relay_address_parse(addr, name, &dial.port, j->reterr);
    if (r)
        return r;

    dial.host = name;
    j->is_over = false;
    r = tunnel_dial(&dial, &t);
    if (r)
        return r;
    if (!loop_run_until(j->loop, is_over, j, timeout_ms)) {
        buf_printf(j->reterr, "%s did not answer within %u ms", addr, timeout_ms);
        tunnel_close(t, REASON_HELLO_TIMEOUT, "no answer in time");
        loop_run_until(j->loop, is_over, j, timeout_ms);
    }
    return j->has_certificate ? 0 : -ECONNREFUSED;
}

int join_run(struct member *member, const struct join_token *token, const struct way *way,
             uint32_t timeout_ms, struct buf *reterr)
{
    AUTO(join_deinit) struct join j = { .token = token, .way = way, .member = member, .reterr = reterr };
    int r = make_parts(&j);

    if (r)
        return r;
    r = -EINVAL;
    for (size_t i = 0; i < token->addr_count && !j.has_certificate && !j.is_refused; i++)
        r = try_address(&j, token->addrs[i], timeout_ms);
    return r;
}
