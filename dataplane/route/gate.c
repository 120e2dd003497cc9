#include "dataplane/route/gate_internal.h"
#include "lib/crypto/random.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include <errno.h>
#include <string.h>

#define ALARM_REST_MS 10000         /* between two alarms */
#define COMES_TOO_OFTEN "this agent's links come and go again and again"

void guest_free(struct guest *v)
{
    if (v->sent_policy)
        record_unref(v->sent_policy);
    list_remove(&v->node);
    free(v);
}

/* --- telling ---------------------------------------------------------------------------------- */

static void tell(struct gate *g, const char *type, const struct guest *v, enum reason why, const char *text)
{
    char mem[1024];
    struct ulid id = random_ulid(wall_ms());
    const struct tunnel_hello *hello = v->tunnel ? tunnel_peer_hello(v->tunnel) : NULL;
    struct json_writer w;
    struct buf data;

    if (!g->config.events)
        return;
    buf_init_fixed(&data, mem, sizeof(mem));
    json_begin(&w, &data);
    json_open_object(&w, NULL);
    if (v->who.id.text[0])
        json_put_str(&w, "agent", ulid_span(&v->who.id));
    if (hello) {
        json_put_text(&w, "software", hello->software);
        json_put_text(&w, "platform", hello->platform);
    }
    if (why != REASON_NONE)
        json_put_text(&w, "reason", reason_text(why));
    if (text)
        json_put_text(&w, "text", text);
    json_close_object(&w);
    if (!buf_error(&data))
        events_add(g->config.events, type, &id, buf_span(&data));
}

/* What the caller did, not what the relay lacks.  Behind a listed proxy are all its agents. */
static void charge(struct gate *g, const struct endpoint *peer, enum reason why)
{
    static const enum reason ours[] = { REASON_NOT_READY, REASON_OVERLOAD, REASON_RELAY_DRAINING, REASON_STALE_CONFIG };

    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (why == ours[i])
            return;
    }
    if (peer->kind == ENDPOINT_IP && !tls_proxies_have(&g->config.tls_proxies, peer))
        flaps_charge(g->config.flaps, &peer->addr, mono_ms());
}

static void tell_refused(struct gate *g, const struct tunnel *t, const char *agent, enum reason why, const char *text)
{
    char address[ADDR_UNIX_MAX + 8];
    struct endpoint peer = tunnel_peer_address(t);

    charge(g, &peer, why);
    metric_add_at(g->config.metrics, M_LINKS_REFUSED, why, 0, 1);
    LOG(WARNING, "link.refused", S("agent", agent), R("reason", why), S("detail", text),
        S("address", endpoint_format(&peer, address, sizeof(address))));
}

/* `agent`: NULL for strangers. */
static void audit_refused(struct gate *g, const struct tunnel *t, const struct ulid *agent, enum reason why)
{
    struct endpoint peer = tunnel_peer_address(t);

    if (g->config.events)
        events_refused(g->config.events, "tunnel", why, agent, &peer.addr);
}

void guest_audit(const struct guest *v, enum reason why)
{
    audit_refused(v->gate, v->tunnel, v->who.id.text[0] ? &v->who.id : NULL, why);
}

void guest_turn_away(struct guest *v, enum reason why, const char *text)
{
    tell_refused(v->gate, v->tunnel, v->who.id.text, why, text);
    tunnel_refuse(v->tunnel, why, text);
}

void guest_refuse(struct guest *v, enum reason why, const char *text)
{
    guest_audit(v, why);
    guest_turn_away(v, why, text);
}

/* --- what agents get ----------------------------------------------------------------------------- */

static void send_keyset(struct guest *v)
{
    struct gate *g = v->gate;

    if (g->keyset && tunnel_notice(v->tunnel, TUNNEL_NOTICE_KEY_SET, g->keyset_serial, span_of(g->keyset, g->keyset_n)))
        LOG(WARNING, "notice.not_sent", S("agent", v->who.id.text), S("kind", "key-set"));
}

static void send_policy(struct guest *v)
{
    const struct view *view = router_view(v->gate->config.router);
    const struct record *found = policy_find(view->policy, RECORD_AGENTPOLICY, ulid_span(&v->who.id));
    const struct agentpolicy_record *policy = RECORD_AS(found, AGENTPOLICY, agentpolicy_record);

    if (!policy || found == v->sent_policy)
        return;
    if (tunnel_notice(v->tunnel, TUNNEL_NOTICE_AGENT_POLICY, view->position.revision, span_str(policy->document))) {
        LOG(WARNING, "notice.not_sent", S("agent", v->who.id.text), S("kind", "agent-policy"));
        return;                     /* tried again at the next view */
    }
    if (v->sent_policy)
        record_unref(v->sent_policy);
    v->sent_policy = record_ref((struct record *)found);
}

/* --- letting in ------------------------------------------------------------------------------------ */

static void hold(struct guest *v)
{
    struct gate *g = v->gate;
    struct held_agent *agent;
    bool was_replaced;
    enum reason why = holders_add(router_holders(g->config.router), v->tunnel, &v->who, tunnel_peer_hello(v->tunnel),
                                  loop_now_ms(g->config.loop), &was_replaced, &agent);

    if (why != REASON_NONE) {
        guest_refuse(v, why, reason_what(why));
        return;
    }
    if (was_replaced) {
        metric_add(g->config.metrics, M_REPLACED, 1);
        LOG(ERROR, "agent.replaced", S("agent", v->who.id.text), R("reason", REASON_REPLACED),
            S("cure", reason_cure(REASON_REPLACED)));
        tell(g, "alarm", v, REASON_REPLACED, "two processes have shown this agent's identity");
    }
    v->is_held = true;
}

static void look_for_control(struct gate *g)
{
    uint64_t now_ms = mono_ms();

    staying_look(&g->staying, freshness_age_ms(g->config.freshness, now_ms), now_ms);
}

/* A generation that renewal or a new join has left behind: somebody kept a copy of the key.  The
 * audit hears of it now and then, however often it is shown; the log every time. */
static void watch_generation(struct guest *v, const struct view *view)
{
    const struct agent_record *agent = policy_agent(view->policy, &v->who.id);
    uint64_t now_ms = mono_ms();

    if (!agent || !agent->is_active || (int64_t)v->who.generation >= agent->generation ||
        (v->gate->alarmed_ms && now_ms - v->gate->alarmed_ms < ALARM_REST_MS))
        return;
    v->gate->alarmed_ms = now_ms;
    tell(v->gate, "alarm", v, REASON_AGENT_REVOKED, "an old generation of its certificate was shown: its key may "
         "have been copied");
}

/* The state knows the agent, and its certificate of that generation still counts. */
static bool is_admitted(struct guest *v)
{
    const struct view *view = router_view(v->gate->config.router);
    enum reason why = view ? policy_agent_admitted(view->policy, &v->who.id, v->who.generation, (int64_t)wall_ms())
                           : REASON_NOT_READY;

    if (why == REASON_AGENT_REVOKED)
        watch_generation(v, view);
    if (why != REASON_NONE)
        guest_refuse(v, why, reason_what(why));
    return why == REASON_NONE;
}

/* False: refused.  Who may only renew is let in, and not held. */
static bool may_hold(struct guest *v)
{
    look_for_control(v->gate);
    if (!staying_has_ended(v->who.not_after_s, gate_now_s()) || v->gate->staying.is_away) {
        hold(v);
        return v->is_held;
    }
    LOG(WARNING, "agent.certificate_expired", S("agent", v->who.id.text), S("detail", "may only renew"));
    return true;
}

/* Streams may be opened to it. */
static void announce(struct guest *v)
{
    tell(v->gate, "agent.up", v, REASON_NONE, NULL);
    holders_up(router_holders(v->gate->config.router), &v->who.id);
    router_agent_up(v->gate->config.router);
}

/* False: put off.  The log and the audit hear of it once, until the agent was calm for a while. */
static bool may_come_again(struct guest *v)
{
    struct gate *g = v->gate;
    const char *boot_id = tunnel_peer_hello(v->tunnel)->boot_id;
    bool is_news, has_streams = roster_has_streams(router_holders(g->config.router)->roster, &v->who.id, boot_id);
    uint32_t wait_ms = flaps_agent(g->config.flaps, &v->who.id, has_streams, mono_ms(), &is_news);

    if (!wait_ms)
        return true;
    metric_add(g->config.metrics, M_SLOWED_AGENTS, 1);
    metric_add_at(g->config.metrics, M_LINKS_REFUSED, REASON_RATE_LIMITED, 0, 1);
    if (is_news) {
        guest_audit(v, REASON_RATE_LIMITED);
        LOG(WARNING, "link.refused", S("agent", v->who.id.text), R("reason", REASON_RATE_LIMITED),
            S("detail", COMES_TOO_OFTEN), U("retry_ms", wait_ms), S("cure", reason_cure(REASON_RATE_LIMITED)));
    }
    v->is_put_off = true;
    tunnel_put_off(v->tunnel, REASON_RATE_LIMITED, COMES_TOO_OFTEN, wait_ms);
    return false;
}

static void let_in(struct guest *v)
{
    if (is_admitted(v) && may_come_again(v) && may_hold(v))
        tunnel_accept(v->tunnel);
}

static bool is_same(const struct ulid *a, const struct ulid *b)
{
    return span_eq(ulid_span(a), ulid_span(b));
}

static void by_certificate(struct guest *v, const struct identity *shown)
{
    if (!shown) {
        guest_refuse(v, REASON_BAD_CERTIFICATE, "no certificate was shown");
        return;
    }
    v->who = *shown;
    let_in(v);
}

static void by_signature(struct guest *v, const struct identity *shown)
{
    enum reason why = tunnel_check_signature(v->tunnel, &v->gate->config.trust, CERT_AGENT, gate_now_s(), &v->who);

    if (why != REASON_NONE)
        guest_refuse(v, why, reason_what(why));
    else if (shown && !is_same(&shown->id, &v->who.id))
        guest_refuse(v, REASON_BAD_CERTIFICATE, "one agent's certificate was shown, and another's key signed");
    else
        let_in(v);
}

/* A lane more of an agent that is here: its session's secret proves it. */
static void by_session(struct guest *v, const struct tunnel_hello *hello, const struct identity *shown)
{
    struct roster *roster = router_holders(v->gate->config.router)->roster;
    struct tunnel_session session = { 0 };
    AUTO(seat_unrefp) struct seat *seat = NULL;
    struct ulid id;

    if (!ulid_parse(span_str(hello->id), &id) ||
        !roster_session(roster, &id, &hello->session.id, &session, &seat) ||
        (shown && !is_same(&shown->id, &id))) {
        guest_refuse(v, REASON_BAD_PROOF, "the session is not known here");
        return;
    }
    v->who = shown ? *shown : (struct identity){ .kind = CERT_AGENT, .id = id, .generation = seat->generation,
                                                 .not_after_s = seat->not_after_s };
    if (tunnel_check_session(v->tunnel, &session))
        let_in(v);
    else
        guest_refuse(v, REASON_BAD_PROOF, "the proof of the session is wrong");
    metric_add(v->gate->config.metrics, M_LANES, v->is_held);
    secret_wipe(&session, sizeof(session));
}

/* --- the tunnel's handlers ------------------------------------------------------------------------------- */

/* False: refused.  No certificate was seen under TLS, though one is there. */
static bool may_come_unseen(struct guest *v, const struct tunnel_hello *hello, const struct identity *shown)
{
    struct endpoint peer = tunnel_peer_address(v->tunnel);

    if (shown || (hello->credential != TUNNEL_SIGNATURE && hello->credential != TUNNEL_SESSION) ||
        tls_proxies_have(&v->gate->config.tls_proxies, &peer))
        return true;
    guest_refuse(v, REASON_PROXY_NOT_LISTED, reason_what(REASON_PROXY_NOT_LISTED));
    return false;
}

static void on_credential(void *user, struct tunnel *t, const struct tunnel_hello *hello,
                          const struct identity *shown)
{
    struct gate *g = user;
    struct guest *v = calloc(1, sizeof(*v));

    if (!v) {
        tunnel_set_user(t, NULL);
        tunnel_refuse(t, REASON_OVERLOAD, "out of memory");
        return;
    }
    v->kind = USER_GUEST;
    v->gate = g;
    v->tunnel = t;
    list_append(&g->guests, &v->node);
    tunnel_set_user(t, v);
    if (!may_come_unseen(v, hello, shown))
        return;

    switch (hello->credential) {
    case TUNNEL_CERTIFICATE:
        by_certificate(v, shown);
        return;
    case TUNNEL_SESSION:
        by_session(v, hello, shown);
        return;
    case TUNNEL_SIGNATURE:
        by_signature(v, shown);
        return;
    case TUNNEL_JOIN:
        guest_join(v, hello);
        return;
    case TUNNEL_NONE:
    case TUNNEL_CREDENTIAL_COUNT:
        guest_refuse(v, REASON_PROTOCOL_ERROR, "no credential was shown");
    }
}

static void on_up(void *user, struct tunnel *t)
{
    struct guest *v = user;

    if (v->is_joining)
        return;
    v->is_counted = true;
    v->told_window_ms = tunnel_own_hello(t)->first_retry_ms;
    metric_add(v->gate->config.metrics, M_LINKS, 1);
    LOG(INFO, "link.up", S("agent", v->who.id.text), S("name", tunnel_peer_hello(t)->name),
        S("software", tunnel_peer_hello(t)->software));
    send_keyset(v);
    if (router_view(v->gate->config.router))
        send_policy(v);
    if (v->is_held)
        announce(v);
    /* Its streams need not wait until the old link is found to be silent. */
    if (v->is_held && tunnel_peer_hello(t)->replaces[0])
        holders_drop_left(router_holders(v->gate->config.router), &v->who.id, tunnel_peer_hello(t)->replaces, t);
}

static void on_notice(void *user, struct tunnel *t, unsigned kind, uint64_t revision, struct span body)
{
    struct guest *v = user;

    (void)t;
    (void)revision;
    if (kind == TUNNEL_NOTICE_RENEW)
        guest_renew(v, body);
    else
        LOG(DEBUG, "notice.ignored", S("kind", tunnel_notice_name(kind)));
}

static void on_goaway(void *user, struct tunnel *t, const struct mux_goaway *goaway)
{
    struct guest *v = user;
    enum reason why = goaway->why;

    LOG(INFO, "link.goaway", S("agent", v->who.id.text), R("reason", why), SP("detail", goaway->text),
        U("ms_left", goaway->ms_left), B("session", goaway->scope == MUX_SCOPE_SESSION));
    v->is_leaving |= why == REASON_AGENT_DRAINING;
    if (goaway->scope == MUX_SCOPE_SESSION)
        holders_drain_all(router_holders(v->gate->config.router), &v->who.id);
    /* Once: however often it is said, it costs one walk over the streams. */
    if (holders_drain(router_holders(v->gate->config.router), &v->who.id, t, why == REASON_LINK_RENEW))
        router_link_closes(v->gate->config.router, &v->who.id);
}

static void on_proved(void *user, struct tunnel *t, uint32_t rtt_us)
{
    struct guest *v = user;

    holders_prove(router_holders(v->gate->config.router), &v->who.id, t, rtt_us,
                  loop_now_ms(v->gate->config.loop));
}

static void on_proof(void *user, struct tunnel *t, enum mux_proof proof)
{
    struct guest *v = user;
    struct gate *g = v->gate;

    holders_proof(router_holders(g->config.router), &v->who.id, t, proof, loop_now_ms(g->config.loop));
    if (proof == MUX_DOUBTED)
        LOG(WARNING, "link.doubted", S("agent", v->who.id.text), R("reason", REASON_AGENT_UNPROVED));
    else if (v->was_doubted)
        LOG(INFO, "link.proved", S("agent", v->who.id.text));
    v->was_doubted = proof == MUX_DOUBTED;
}

static void leave(struct guest *v, struct tunnel *t, enum reason why, const char *text)
{
    struct gate *g = v->gate;

    if (v->is_counted) {            /* the tunnel does not count as up any more */
        metric_add(g->config.metrics, M_LINKS, -1);
        metric_add_at(g->config.metrics, M_LINKS_LOST, why, 0, 1);
    }
    if (!v->is_put_off)
        LOG(INFO, "link.down", S("agent", v->who.id.text), R("reason", why), S("detail", text));
    if (!v->is_held || !holders_remove(router_holders(g->config.router), &v->who.id, t, v->is_leaving))
        return;
    tell(g, "agent.down", v, why, NULL);
    if (v->is_leaving)
        router_agent_left(g->config.router, &v->who.id);
}

/* NULL: the tunnel ends before its credential came, or there was no memory for a guest. */
static struct guest *guest_of(void *user)
{
    const enum user_kind *kind = user;

    return kind && *kind == USER_GUEST ? user : NULL;
}

/* It ended before it had shown who it is.  Who went by himself, or for the relay's sake, was not
 * refused. */
static void stranger_leaves(struct gate *g, const struct tunnel *t, enum reason why, const char *text)
{
    static const enum reason faults[] = { REASON_HELLO_TIMEOUT, REASON_VERSION_MISMATCH, REASON_PROTOCOL_ERROR };

    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        if (faults[i] != why)
            continue;
        audit_refused(g, t, NULL, why);
        tell_refused(g, t, "", why, text);
    }
}

static void on_down(void *user, struct tunnel *t, enum reason why, const char *text)
{
    struct guest *v = guest_of(user);

    if (!v && user)
        stranger_leaves(user, t, why, text);
    if (!v)
        return;
    leave(v, t, why, text);
    v->tunnel = NULL;
    if (!v->is_asking)
        guest_free(v);
}

const struct tunnel_handlers gate_handlers = {
    .on_credential = on_credential,
    .on_up = on_up,
    .on_notice = on_notice,
    .on_goaway = on_goaway,
    .on_proved = on_proved,
    .on_proof = on_proof,
    .on_down = on_down,
};

/* --- changes ------------------------------------------------------------------------------------------------ */

void gate_view_changed(struct gate *g)
{
    const struct view *view = router_view(g->config.router);

    LIST_EACH(&g->guests, node) {
        struct guest *v = container_of(node, struct guest, node);
        enum reason why;

        if (!v->tunnel || v->is_joining || !tunnel_is_up(v->tunnel))
            continue;
        /* The generation was checked when the link came up; it has risen by renewal since. */
        why = policy_agent_admitted(view->policy, &v->who.id, UINT32_MAX, (int64_t)wall_ms());
        if (why != REASON_NONE)
            tunnel_close(v->tunnel, why, reason_what(why));
        else
            send_policy(v);
    }
}

/* What another process with this identity has renewed says nothing of this one: its key may be a copy. */
static bool is_of(const struct seat *seat, const struct guest *v)
{
    return strcmp(seat->boot_id, tunnel_peer_hello(v->tunnel)->boot_id) == 0;
}

/* An agent has shown its newest certificate on one of its links, maybe not on this one, maybe at
 * another worker. */
static bool has_ended(const struct guest *v, int64_t now_s)
{
    const struct seat *seat;

    if (!staying_has_ended(v->who.not_after_s, now_s))
        return false;
    seat = roster_find(&router_holders(v->gate->config.router)->reader, &v->who.id);
    return !seat || !is_of(seat, v) || staying_has_ended(seat->not_after_s, now_s);
}

static void hold_now(struct guest *v)
{
    hold(v);
    if (v->is_held)
        announce(v);
}

static void look_at(struct guest *v)
{
    switch (staying_judge(&v->gate->staying, v->is_held, mono_ms())) {
    case STAYING_AS_IT_IS:
        return;
    case STAYING_HOLD:
        hold_now(v);
        return;
    case STAYING_END:
        tunnel_close(v->tunnel, REASON_CERTIFICATE_EXPIRED, "the certificate has ended and was not renewed");
    }
}

static void tell_window(struct guest *v, int64_t ms)
{
    char mem[64];
    struct json_writer w;
    struct buf body;

    buf_init_fixed(&body, mem, sizeof(mem));
    json_begin(&w, &body);
    json_open_object(&w, NULL);
    json_put_int(&w, "first_retry_ms", ms);
    json_close_object(&w);
    if (!buf_error(&body) && tunnel_notice(v->tunnel, TUNNEL_NOTICE_RETRY, 0, buf_span(&body)) == 0)
        v->told_window_ms = ms;
}

void gate_tick(struct gate *g, int64_t window_ms)
{
    int64_t now_s = gate_now_s();

    look_for_control(g);
    LIST_EACH(&g->guests, node) {
        struct guest *v = container_of(node, struct guest, node);

        if (!v->tunnel || v->is_joining || !tunnel_is_up(v->tunnel))
            continue;
        if (window_is_news(v->told_window_ms, window_ms))
            tell_window(v, window_ms);
        if (has_ended(v, now_s))
            look_at(v);
        else if (!v->is_held)       /* it came to renew, and another link has done that */
            hold_now(v);
    }
}

void gate_set_keyset(struct gate *g, struct span text, uint64_t serial)
{
    bool is_known = g->keyset && serial == g->keyset_serial && span_eq(text, span_of(g->keyset, g->keyset_n));
    char *copy = is_known ? NULL : span_dup(text);

    if (!copy)
        return;
    free(g->keyset);
    g->keyset = copy;
    g->keyset_n = text.n;
    g->keyset_serial = serial;
    LIST_EACH(&g->guests, node) {
        struct guest *v = container_of(node, struct guest, node);

        if (v->tunnel && !v->is_joining && tunnel_is_up(v->tunnel))
            send_keyset(v);
    }
}

int gate_new(const struct gate_config *config, struct gate **ret_gate)
{
    struct gate *g = calloc(1, sizeof(*g));

    if (!g)
        return -ENOMEM;
    g->kind = USER_GATE;
    g->config = *config;
    staying_init(&g->staying, config->control_away_ms, config->renew_wait_ms, mono_ms());
    list_init(&g->guests);
    *ret_gate = g;
    return 0;
}

void gate_free(struct gate *g)
{
    LIST_EACH(&g->guests, node)
        guest_free(container_of(node, struct guest, node));
    free(g->keyset);
    free(g);
}
