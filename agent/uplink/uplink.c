#include "agent/uplink/uplink_internal.h"
#include "agent/uplink/notice.h"
#include "agent/uplink/retry.h"
#include "lib/base/version.h"
#include "lib/crypto/ca.h"
#include "lib/crypto/digest.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RENEW_ASK_AGAIN_MS 60000

#define STEADY_MS 5000              /* a link that ends sooner is a failure like one that never came */

/* --- dialling ---------------------------------------------------------------------------- */

uint64_t path_retry(struct path *p, uint32_t after_ms)
{
    bool has_streams = uplink_streams(p->uplink) > 0;
    uint64_t ceiling_ms = retry_ceiling_ms(p->failures, (uint64_t)p->first_retry_ms, has_streams);
    uint64_t wait_ms = p->is_moving ? 0 : retry_wait_ms(ceiling_ms, after_ms, has_streams, random_u64());

    p->retry_at_ms = loop_now_ms(p->uplink->config.loop) + wait_ms;
    p->is_put_off = after_ms > 0;
    if (!p->uplink->drain_until_ms)
        timer_start(p->uplink->config.loop, &p->retry, wait_ms, path_dial, p);
    return wait_ms;
}

static const struct tunnel_handlers tunnel_events;

/* Where TLS ends before the relay, it sees no certificate: the key signs instead. */
struct tunnel_login path_login(const struct path *p)
{
    const struct uplink_config *c = &p->uplink->config;

    return (struct tunnel_login){
        .kind = c->way.tls_proxy_ca ? TUNNEL_SIGNATURE : TUNNEL_CERTIFICATE,
        .chain = c->member->chain,
        .key = c->member->key,
    };
}

int tunnel_connect(struct path *p, const struct tunnel_login *login, struct tunnel **ret_tunnel)
{
    struct uplink *u = p->uplink;
    const struct tunnel_dial dial = {
        .loop = u->config.loop,
        .resolver = u->config.resolver,
        .mux = u->mux,
        .host = p->host,
        .port = p->port,
        .proxy = u->config.way.proxy,
        .tls = u->tls,
        .streams = uplink_streams(u),
        .self = &u->self,
        .login = login,
        .handlers = &tunnel_events,
        .user = p,
    };

    u->stats.dials++;
    return tunnel_dial(&dial, ret_tunnel);
}

void path_dial(void *arg)
{
    struct path *p = arg;
    struct tunnel_login login = path_login(p);
    uint64_t wait_ms;
    int r;

    if (!p->worn)                   /* that one is not given up: it ends in order */
        login.replaces = p->left;
    r = tunnel_connect(p, &login, &p->tunnel);
    p->is_moving = false;
    if (r) {
        p->tunnel = NULL;
        p->failures++;
        wait_ms = path_retry(p, 0);
        LOG(WARNING, "link.dial_failed", S("relay", p->addr), E(r), U("retry_ms", wait_ms));
    }
}

/* --- renewing the certificate -------------------------------------------------------------- */

/* Every relay is asked the same: each sees that its link's certificate was renewed, and the
 * control plane answers the same request with the same certificate.  0: asked one at least. */
static int ask_all(struct uplink *u)
{
    int r = -ENOTCONN;

    for (size_t i = 0; i < u->path_count; i++) {
        struct tunnel *t = u->paths[i].tunnel;

        if (t && tunnel_is_up(t) && tunnel_notice(t, TUNNEL_NOTICE_RENEW, 0, buf_span(&u->request)) == 0)
            r = 0;
    }
    return r;
}

static void forget_renewal(struct uplink *u)
{
    if (u->renewing)
        key_free(TAKE(u->renewing));
    buf_deinit(&u->request);
}

static int ask_renewal(struct uplink *u)
{
    AUTO(buf_deinit) struct buf csr = { 0 };
    int r;

    forget_renewal(u);
    r = key_generate(&u->renewing);
    if (r)
        return r;

    buf_init_heap(&csr, CSR_DER_MAX);
    buf_init_heap(&u->request, 4 * CSR_DER_MAX + CERT_PEM_MAX);
    r = csr_make(u->renewing, &csr);
    if (!r)
        r = notice_renew(buf_span(&csr), u->config.member->chain, u->config.member->key, &u->request);
    return r ? r : ask_all(u);
}

static bool is_any_up(const struct uplink *u)
{
    for (size_t i = 0; i < u->path_count; i++) {
        if (u->paths[i].tunnel && tunnel_is_up(u->paths[i].tunnel))
            return true;
    }
    return false;
}

static void on_renew_due(void *arg)
{
    struct uplink *u = arg;
    int64_t left_s = member_renew_at_s(u->config.member) - (int64_t)(wall_ms() / 1000);

    if (left_s > 0) {
        timer_start(u->config.loop, &u->renew, (uint64_t)left_s * 1000, on_renew_due, u);
        return;
    }
    timer_start(u->config.loop, &u->renew, RENEW_ASK_AGAIN_MS, on_renew_due, u);
    if (!is_any_up(u))
        return;                     /* on_up() asks again */
    LOG(INFO, "certificate.renewing", N("generation", u->config.member->self.generation));
    if (ask_renewal(u))
        LOG(WARNING, "certificate.renewal_failed", S("detail", "no request could be made"));
}

/* A link came up: it is asked what the others were asked, or the asking begins. */
static void renew_over(struct uplink *u, struct tunnel *t)
{
    if (u->renewing && tunnel_notice(t, TUNNEL_NOTICE_RENEW, 0, buf_span(&u->request)) == 0)
        return;
    if (member_renew_at_s(u->config.member) <= (int64_t)(wall_ms() / 1000))
        timer_start(u->config.loop, &u->renew, 0, on_renew_due, u);
}

/* A proxy that ends TLS is not shown it. */
static int show_certificate(struct uplink *u)
{
    return u->config.way.tls_proxy_ca ? 0 : tls_ctx_set_certificate(u->tls, u->config.member->chain,
                                                                    u->config.member->key);
}

static void take_certificate(struct uplink *u, struct span body)
{
    AUTO(freep) char *pem = NULL;
    AUTO(buf_deinit) struct buf why = { 0 };
    int r;

    buf_init_heap(&why, 1024);
    if (!u->renewing)
        return;                     /* asked for once, answered twice */

    r = notice_chain(body, &pem, &why);
    if (!r)
        r = member_renew(u->config.member, u->renewing, span_str(pem), (int64_t)(wall_ms() / 1000), &why);
    if (!r)
        r = show_certificate(u);
    if (r) {
        LOG(ERROR, "certificate.renewal_failed", SP("detail", buf_span(&why)));
        return;
    }
    forget_renewal(u);
    LOG(INFO, "certificate.renewed", N("generation", u->config.member->self.generation),
        N("not_after_s", u->config.member->self.not_after_s));
    timer_start(u->config.loop, &u->renew, 0, on_renew_due, u);
}

/* --- what comes over a link ---------------------------------------------------------------- */

static void take_keyset(struct uplink *u, struct span body)
{
    struct state_error error = { .text = "" };

    if (member_keep_keyset(u->config.member, body, &error))
        LOG(ERROR, "keyset.refused", R("reason", REASON_STATE_REJECTED), S("detail", error.text));
}

static void take_policy(struct uplink *u, struct span body)
{
    struct state_error error = { .text = "" };
    struct agent_reach *reach = NULL;

    if (kept_policy_take(u->config.policy, body, &reach, &error)) {
        LOG(ERROR, "policy.refused", R("reason", REASON_STATE_REJECTED), S("detail", error.text));
        return;
    }
    LOG(INFO, "policy.applied", U("epoch", u->config.policy->header.epoch),
        U("revision", u->config.policy->header.revision), U("rules", agent_reach_count(reach)));
    dialer_set_reach(u->config.dialer, reach);
}

static void take_window(struct path *p, struct span body)
{
    if (notice_retry(body, &p->first_retry_ms))
        LOG(WARNING, "notice.malformed", S("kind", tunnel_notice_name(TUNNEL_NOTICE_RETRY)));
    else
        LOG(INFO, "link.window", S("relay", p->addr), N("first_retry_ms", p->first_retry_ms));
}

static void on_notice(void *user, struct tunnel *t, unsigned kind, uint64_t revision, struct span body)
{
    struct path *p = user;

    (void)t;
    (void)revision;
    switch (kind) {
    case TUNNEL_NOTICE_KEY_SET:
        take_keyset(p->uplink, body);
        return;
    case TUNNEL_NOTICE_AGENT_POLICY:
        take_policy(p->uplink, body);
        return;
    case TUNNEL_NOTICE_CERTIFICATE:
        take_certificate(p->uplink, body);
        return;
    case TUNNEL_NOTICE_RETRY:
        take_window(p, body);
        return;
    default:
        LOG(DEBUG, "notice.ignored", S("kind", tunnel_notice_name(kind)));
    }
}

/* What an older start of this relay opened is over; a link of that one that is only now up says
 * nothing about the newer. */
void path_meet(struct path *p, const struct tunnel_hello *hello)
{
    struct uplink *u = p->uplink;

    p->workers = hello->workers ? hello->workers : 1;
    p->worker = hello->worker;
    for (size_t i = 0; i < u->path_count; i++) {
        if (strcmp(u->paths[i].relay_id, hello->id) == 0 && u->paths[i].relay_starts > hello->starts)
            return;
    }
    snprintf(p->relay_id, sizeof(p->relay_id), "%s", hello->id);
    p->relay_starts = hello->starts;
    mux_abandon_entry(u->mux, span_str(hello->id), span_str(hello->boot_id), REASON_SESSION_LOST);
}

static bool on_greeted(void *user, struct tunnel *t, const struct tunnel_hello *hello)
{
    struct lane *lane = lane_of(user, t);

    if (lane)
        lane->is_missed = !lane_is_wanted(user, hello);
    return !lane || !lane->is_missed;
}

static void on_up(void *user, struct tunnel *t)
{
    struct path *p = user;
    const struct tunnel_hello *hello = tunnel_peer_hello(t);
    struct lane *lane = lane_of(p, t);

    if (lane) {
        lane_up(p, lane);
        return;
    }
    p->up_at_ms = loop_now_ms(p->uplink->config.loop);
    p->last_reason = REASON_NONE;
    p->first_retry_ms = hello->first_retry_ms;
    p->left = hello->session.id;    /* once it is lost */
    p->proved_at_ms = loop_now_ms(p->uplink->config.loop);
    LOG(INFO, "link.up", S("relay", p->addr), S("relay_id", hello->id), S("software", hello->software),
        N("first_retry_ms", p->first_retry_ms));
    if (p->worn)
        tunnel_close(p->worn, REASON_LINK_RENEW, "its ids are used up");
    path_meet(p, hello);
    p->is_session_over = p->is_replacing = false;
    p->gone_at_ms = 0;
    lanes_close_at(p, p->worker);   /* of those that outlived the link before */
    renew_over(p->uplink, t);
}

/* A new link first; the streams move when the old one ends. */
static void renew_link(struct path *p)
{
    p->worn = TAKE(p->tunnel);
    p->up_at_ms = 0;
    if (!p->uplink->drain_until_ms)
        path_dial(p);
}

static void on_goaway(void *user, struct tunnel *t, const struct mux_goaway *goaway)
{
    struct path *p = user;
    struct lane *lane = lane_of(p, t);
    bool is_renewed = goaway->why == REASON_LINK_RENEW && goaway->scope == MUX_SCOPE_LINK;

    p->last_reason = goaway->why;
    LOG(INFO, "link.goaway", S("relay", p->addr), R("reason", goaway->why), SP("detail", goaway->text),
        U("ms_left", goaway->ms_left), B("session", goaway->scope == MUX_SCOPE_SESSION),
        U("elsewhere", goaway->elsewhere_count));
    if (goaway->scope == MUX_SCOPE_SESSION && t != p->worn)
        path_sent_away(p, goaway);
    if (is_renewed && t == p->tunnel && !p->worn)
        renew_link(p);
    if (is_renewed && lane)
        lane_close(p, lane);        /* its ids are used up; another one comes under load */
}

static void on_proved(void *user, struct tunnel *t, uint32_t rtt_us)
{
    struct path *p = user;

    (void)t;
    p->proved_at_ms = loop_now_ms(p->uplink->config.loop);
    p->rtt_us = rtt_us;
}

static void on_down(void *user, struct tunnel *t, enum reason why, const char *text)
{
    struct path *p = user;
    struct lane *lane = lane_of(p, t);
    bool was_steady = p->up_at_ms && loop_now_ms(p->uplink->config.loop) - p->up_at_ms >= STEADY_MS;
    uint64_t wait_ms;

    if (lane) {
        lane_down(p, lane, why, text);
        return;
    }
    if (t == p->worn) {
        p->worn = NULL;
        LOG(INFO, "link.renewed", S("relay", p->addr), R("reason", why), S("detail", text));
        return;
    }
    p->tunnel = NULL;
    p->up_at_ms = 0;
    if (why != REASON_NONE)
        p->last_reason = why;
    p->uplink->stats.lost[why]++;
    if (!p->is_moving)
        p->failures = was_steady ? 0 : p->failures + 1;
    wait_ms = lanes_take_place(p) ? 0 : path_retry(p, tunnel_retry_after_ms(t));
    LOG(WARNING, "link.down", S("relay", p->addr), R("reason", why), S("detail", text),
        S("cure", reason_cure(p->last_reason)), U("retry_ms", wait_ms), U("lanes", lanes_up(p)));
}

static const struct tunnel_handlers tunnel_events = {
    .on_greeted = on_greeted,
    .on_up = on_up,
    .on_notice = on_notice,
    .on_goaway = on_goaway,
    .on_proved = on_proved,
    .on_down = on_down,
};

static void on_open(void *link_user, struct mux_stream *s, const struct mux_open *open)
{
    const struct path *p = tunnel_user(link_user);

    dialer_on_open(p->uplink->config.dialer, s, open);
}

/* --- streams whose link is gone ------------------------------------------------------------ */

#define TICK_MS 1000
#define TICK_LOAD_MS 500            /* while there may be load for a lane */

static void on_tick(void *arg)
{
    struct uplink *u = arg;
    bool has_load = u->config.lanes_max > 1 && uplink_streams(u) > 1;

    mux_tick(u->mux, loop_now_ms(u->config.loop));
    for (size_t i = 0; i < u->path_count; i++) {
        lanes_look(&u->paths[i], loop_now_ms(u->config.loop));
        path_leave_in_time(&u->paths[i]);
    }
    timer_start(u->config.loop, &u->tick, has_load ? TICK_LOAD_MS : TICK_MS, on_tick, u);
}

/* --- making it ------------------------------------------------------------------------------ */

static void prove(const unsigned char secret[MUX_SECRET_LEN], struct span message, unsigned char ret_mac[32])
{
    hmac_sha256(span_of(secret, MUX_SECRET_LEN), message, ret_mac);
}

static int make_mux(struct uplink *u)
{
    struct mux_handlers handlers = { .on_open = on_open };
    const struct mux_config config = {
        .memory_limit = u->config.memory_limit,
        .streams_max = u->config.streams_max,
        .random_seed = random_u64(),
        .mac = prove,
        .boot_id = u->self.boot_id.text,
    };

    dialer_handlers(&handlers);
    tunnel_fill_handlers(&handlers);
    u->mux = mux_new(&config, &handlers);
    return u->mux ? 0 : -ENOMEM;
}

static int make_tls(struct uplink *u, struct buf *reterr)
{
    const struct member *m = u->config.member;

    return way_tls(&u->config.way, &m->trust, m->chain, m->key, &u->tls, reterr);
}

static int path_init(struct uplink *u, struct path *p, const char *addr, struct buf *reterr)
{
    p->uplink = u;
    p->addr = addr;
    p->rule = (struct lane_rule){ .rate = u->config.lane_rate, .rest_ms = u->config.lane_rest_ms };
    return relay_address_parse(addr, p->host, &p->port, reterr);
}

static int make_paths(struct uplink *u, struct buf *reterr)
{
    for (size_t i = 0; i < u->config.addr_count; i++) {
        int r = path_init(u, &u->paths[i], u->config.addrs[i], reterr);

        if (r)
            return r;
    }
    u->path_count = u->config.addr_count;
    return 0;
}

int uplink_new(const struct uplink_config *config, struct uplink **ret_uplink, struct buf *reterr)
{
    AUTO(uplink_freep) struct uplink *u = calloc(1, sizeof(*u));
    int r;

    if (!u)
        return -ENOMEM;

    u->config = *config;
    u->self = (struct tunnel_self){
        .id = config->member->self.id,
        .name = config->name,
        .software = "adit-agent/" ADIT_VERSION,
        .platform = "linux",
        .zone = config->zone,
        .boot_id = config->boot_id,
        .starts = config->member->starts,
        .streams_max = config->streams_max,
    };
    r = make_tls(u, reterr);
    if (!r)
        r = make_mux(u);
    if (!r)
        r = make_paths(u, reterr);
    if (r)
        return r;

    for (size_t i = 0; i < u->path_count; i++)
        path_dial(&u->paths[i]);
    timer_start(config->loop, &u->renew, 0, on_renew_due, u);
    on_tick(u);
    *ret_uplink = TAKE(u);
    return 0;
}

void uplink_free(struct uplink *u)
{
    timer_stop(&u->renew);
    timer_stop(&u->drained);
    timer_stop(&u->tick);
    for (size_t i = 0; i < u->path_count; i++)
        timer_stop(&u->paths[i].retry);
    if (u->mux)
        mux_free(u->mux);
    if (u->tls)
        tls_ctx_unref(u->tls);
    forget_renewal(u);
    free(u);
}

/* --- what others may know --------------------------------------------------------------------- */

size_t uplink_status(const struct uplink *u, struct uplink_status *ret_status, size_t max)
{
    size_t n = 0;

    for (; n < u->path_count && n < max; n++) {
        const struct path *p = &u->paths[n];

        ret_status[n] = (struct uplink_status){
            .addr = p->addr,
            .is_up = p->tunnel && tunnel_is_up(p->tunnel),
            .proved_at_ms = p->proved_at_ms,
            .rtt_us = p->rtt_us,
            .failures = p->failures,
            .last_reason = p->last_reason,
        };
    }
    return n;
}

const struct mux_stats *uplink_mux_stats(const struct uplink *u)
{
    return mux_stats(u->mux);
}

uint32_t uplink_streams(const struct uplink *u)
{
    const struct mux_stats *stats = mux_stats(u->mux);

    return stats->streams - stats->probing;
}

const struct uplink_stats *uplink_stats(const struct uplink *u)
{
    return &u->stats;
}

unsigned uplink_links_up(const struct uplink *u)
{
    unsigned n = 0;

    for (size_t i = 0; i < u->path_count; i++)
        n += u->paths[i].tunnel && tunnel_is_up(u->paths[i].tunnel);
    return n + uplink_lanes_up(u);
}

unsigned uplink_lanes_up(const struct uplink *u)
{
    unsigned n = 0;

    for (size_t i = 0; i < u->path_count; i++)
        n += lanes_up(&u->paths[i]);
    return n;
}
