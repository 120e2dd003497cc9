#include "agent/dial/dial.h"
#include "agent/dial/brief.h"
#include "agent/dial/examine.h"
#include "agent/dial/own.h"
#include "agent/dial/race.h"
#include "lib/base/list.h"
#include "lib/log/log.h"
#include "lib/pipe/pipe.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DIAGNOSES_MAX 4

struct dialer {
    struct dialer_config config;
    struct agent_reach *reach;
    struct list sessions;
    struct dialer_stats stats;
    struct own_addrs own;
    bool is_draining;
};

struct session {
    struct list node;
    struct dialer *dialer;
    struct mux_stream *stream;
    struct target *target;          /* NULL: malformed */
    size_t range_count;
    bool allow_special;
    uint32_t answer_ms;
    uint64_t began_ms;
    const char *resolved_by;
    struct brief dns;               /* the server that said so; ENDPOINT_NONE: none did */
    struct resolve_request *resolving;
    struct race *race;
    struct pipe pipe;
    struct udp *udp;                /* kind udp: instead of the pipe */
    struct examination *exam;       /* kind diagnose: likewise */
    bool is_udp;
    struct brief used;
    struct cidr ranges[];           /* range_count of them: mostly none, and sessions are many */
};

static struct span target_span(const struct session *s)
{
    return s->target ? span_str(s->target->name) : SPAN_NONE;
}

static void stop_dialling(struct session *s)
{
    if (s->resolving)
        resolve_cancel(TAKE(s->resolving));
    if (s->race)
        race_free(TAKE(s->race));
}

static void session_free(struct session *s)
{
    stop_dialling(s);
    if (s->udp)
        udp_free(TAKE(s->udp));
    if (s->exam) {
        examine_free(TAKE(s->exam));
        s->dialer->stats.diagnosing--;
    }
    brief_deinit(&s->dns);
    brief_deinit(&s->used);
    list_remove(&s->node);
    s->dialer->stats.live--;
    free(s->target);
    free(s);
}

/* --- may it be dialled ------------------------------------------------------------------- */

static enum reason may_dial(const struct session *s, const struct addr *addr)
{
    const struct dialer *d = s->dialer;
    const struct dial_question question = {
        .target = s->target,
        .addr = addr,
        .ranges = s->ranges,
        .range_count = s->range_count,
        .allow_special = s->allow_special,
        .acl = d->config.acl,
        .reach = d->reach,
        .own = d->own.list,
        .own_count = d->own.count,
    };

    return agent_may_dial(&question);
}

static bool still_permitted(const struct session *s)
{
    if (s->used.kind == ENDPOINT_UNIX)
        return agent_may_dial_unix(s->dialer->config.acl, s->dialer->reach, s->allow_special,
                                   span_str(s->used.path)) == REASON_NONE;
    return may_dial(s, &s->used.addr) == REASON_NONE;
}

/* --- refusing and connecting ------------------------------------------------------------- */

static void refuse(struct session *s, enum reason why, const char *text, const struct mux_opened *tries)
{
    stop_dialling(s);
    if (s->exam) {
        examine_fail(s->exam, why, text, tries);
        return;
    }
    s->dialer->stats.refused[why]++;
    LOG(INFO, "stream.refused", SP("target", target_span(s)), N("port", s->target ? s->target->port : 0),
        R("reason", why), S("detail", text));
    mux_stream_refuse(s->stream, why, span_str(text), tries);
}

#define RESOLVED_MAX (ADDR_TEXT_MAX + 16)

/* "dns-cache 10.0.0.53:53", "override". */
static const char *how_resolved(const struct session *s, char dst[RESOLVED_MAX])
{
    char server[ADDR_TEXT_MAX] = "";
    const struct endpoint dns = brief_endpoint(&s->dns);
    bool is_known = dns.kind != ENDPOINT_NONE;

    snprintf(dst, RESOLVED_MAX, "%s%s%s", s->resolved_by, is_known ? " " : "",
             is_known ? endpoint_format(&dns, server, sizeof(server)) : "");
    return dst;
}

static void opened_from(const struct session *s, const struct race_result *result, const char *how,
                        struct mux_opened *ret)
{
    *ret = (struct mux_opened){
        .boot_id = s->dialer->config.boot_id,
        .used = result->used,
        .resolved_by = span_str(how),
        .try_count = result->try_count,
    };
    memcpy(ret->tries, result->tries, result->try_count * sizeof(ret->tries[0]));
}

static void tell_connected(struct session *s, const struct race_result *result, const struct mux_opened *opened)
{
    char text[ADDR_UNIX_MAX + 8];

    s->dialer->stats.opened++;
    LOG(DEBUG, "stream.connected", SP("target", target_span(s)),
        S("address", endpoint_format(&result->used, text, sizeof(text))), SP("resolved_by", opened->resolved_by));
    mux_stream_accept(s->stream, opened);
}

static void on_raced(void *user, const struct race_result *result)
{
    struct session *s = user;
    struct mux_opened opened;
    char how[RESOLVED_MAX];

    stop_dialling(s);               /* the other family, if it is still being asked for */
    opened_from(s, result, how_resolved(s, how), &opened);
    if (!result->conn) {
        refuse(s, result->reason, "no address of the target took the connection", &opened);
        return;
    }

    brief_set(&s->used, &result->used);
    if (!still_permitted(s)) {      /* a new policy came while it connected */
        conn_reset(result->conn);
        refuse(s, REASON_REVOKED, "the agent's policy no longer permits the target", NULL);
        return;
    }
    if (s->exam) {
        examine_connected(s->exam, result->conn, &opened);
        return;
    }
    tell_connected(s, result, &opened);
    pipe_start(&s->pipe, result->conn, s->stream, REASON_TARGET_RESET, s->dialer->config.idle_ms,
               SPAN_NONE);
}

static uint32_t time_left_ms(const struct session *s)
{
    uint64_t spent_ms = loop_now_ms(s->dialer->config.loop) - s->began_ms;

    return spent_ms < s->answer_ms ? (uint32_t)(s->answer_ms - spent_ms) : 1;
}

/* --- datagrams: nothing is sent to connect, so the first address with a route is it ---- */

static int connect_first(const struct endpoint *to, size_t count, struct race_result *result)
{
    int fd = -1, r = -EINVAL;

    for (size_t i = 0; i < count && i < MUX_TRIES_MAX && r; i++) {
        r = udp_connect(&to[i], &fd);
        result->reason = r ? race_reason(r) : REASON_NONE;
        result->tries[result->try_count++] = (struct mux_try){ .to = to[i], .result = result->reason };
        result->used = to[i];
    }
    return r ? r : fd;
}

/* is_part: the other family may still come. */
static void open_udp(struct session *s, const struct endpoint *to, size_t count, bool is_part)
{
    struct dialer *d = s->dialer;
    struct race_result result = { 0 };
    struct mux_opened opened;
    char how[RESOLVED_MAX];
    int fd = connect_first(to, count, &result);

    if (fd < 0 && is_part)
        return;
    stop_dialling(s);
    opened_from(s, &result, how_resolved(s, how), &opened);
    if (fd < 0) {
        refuse(s, result.reason, "no address of the target can be sent to", &opened);
        return;
    }
    if (udp_start(d->config.loop, fd, s->stream, d->config.udp_idle_ms, &d->stats.udp, &s->udp)) {
        refuse(s, REASON_OVERLOAD, "out of memory", NULL);
        return;
    }
    brief_set(&s->used, &result.used);
    tell_connected(s, &result, &opened);
}

static void dial_endpoints(struct session *s, const struct endpoint *to, size_t count, bool is_open)
{
    if (s->is_udp)
        open_udp(s, to, count, is_open);
    else if (race_start(s->dialer->config.loop, to, count, is_open, time_left_ms(s), on_raced, s, &s->race))
        refuse(s, REASON_OVERLOAD, "out of memory", NULL);
}

#define PERMITTED_MAX RACE_KNOWN_MAX

/* What may be dialled of the addresses, in the order to try; 0: why not. */
static size_t permitted(const struct session *s, const struct addr *addrs, size_t count,
                        struct endpoint to[PERMITTED_MAX], enum reason *ret_why)
{
    size_t n = 0;

    *ret_why = REASON_RESOLVE_FAILED;
    for (size_t i = 0; i < count && n < PERMITTED_MAX; i++) {
        enum reason verdict = may_dial(s, &addrs[i]);

        if (s->exam)
            examine_address(s->exam, &addrs[i], verdict);
        if (verdict == REASON_NONE)
            to[n++] = (struct endpoint){ .kind = ENDPOINT_IP, .addr = addrs[i], .port = s->target->port };
        else
            *ret_why = verdict;
    }
    return race_interleave(to, n);
}

static void tell_resolved(const struct session *s)
{
    const struct endpoint dns = brief_endpoint(&s->dns);

    if (s->exam)
        examine_resolved(s->exam, s->resolved_by, &dns);
}

/* Drops what may not be dialled, and dials the rest.  is_part: the other family may still come. */
static void dial_permitted(struct session *s, const struct addr *addrs, size_t count, bool is_part)
{
    struct endpoint to[PERMITTED_MAX];
    enum reason why;
    size_t n;

    tell_resolved(s);
    if (own_addrs_refresh(&s->dialer->own, loop_now_ms(s->dialer->config.loop))) {
        refuse(s, REASON_OVERLOAD, "the machine's own addresses cannot be read", NULL);
        return;
    }
    n = permitted(s, addrs, count, to, &why);
    if (n && !s->race)
        dial_endpoints(s, to, n, is_part);
    else if (s->race && !is_part)
        race_close(s->race, to, n);
    else if (!is_part)
        refuse(s, why, "no address of the target may be dialled from here", NULL);
}

static void on_name(void *user, const struct resolve_answer *answer)
{
    struct session *s = user;

    if (!answer->is_part)
        s->resolving = NULL;
    s->resolved_by = answer->source;
    brief_set(&s->dns, &answer->server);
    if (answer->reason == REASON_NONE)
        dial_permitted(s, answer->addrs, answer->count, answer->is_part);
    else if (s->race)
        race_close(s->race, NULL, 0);       /* what came first is all there is */
    else
        refuse(s, answer->reason, answer->text, NULL);
}

/* --- opening --------------------------------------------------------------------------------- */

static void open_unix(struct session *s, struct span path)
{
    struct endpoint to = { .kind = ENDPOINT_UNIX };
    enum reason why = agent_may_dial_unix(s->dialer->config.acl, s->dialer->reach, s->allow_special, path);

    if (why == REASON_NONE && s->is_udp)
        why = REASON_TARGET_FORBIDDEN;      /* streams of bytes only */
    if (why == REASON_NONE && !span_copy(path, to.path, sizeof(to.path)))
        why = REASON_PROTOCOL_ERROR;
    s->resolved_by = "override";
    tell_resolved(s);
    if (why != REASON_NONE)
        refuse(s, why, "the socket may not be dialled from here", NULL);
    else
        dial_endpoints(s, &to, 1, false);
}

static void open_override(struct session *s, const struct mux_open *open)
{
    struct addr addrs[MUX_RESOLVE_MAX];

    s->resolved_by = "override";
    for (size_t i = 0; i < open->resolve_count; i++) {
        if (!addr_parse(open->resolve_to[i], &addrs[i])) {
            refuse(s, REASON_PROTOCOL_ERROR, "resolve-to holds no address", NULL);
            return;
        }
    }
    dial_permitted(s, addrs, open->resolve_count, false);
}

static void open_name(struct session *s)
{
    int error = resolve_name(s->dialer->config.resolve, s->target->name, s->answer_ms, on_name, s, &s->resolving);

    if (error)
        refuse(s, REASON_OVERLOAD, "too many names are being resolved", NULL);
}

static void open_target(struct session *s, const struct mux_open *open)
{
    struct span unix_path = SPAN_NONE;
    struct target target;
    bool is_good = target_parse(open->host, open->port, &target);

    s->target = is_good ? target_keep(&target) : NULL;
    if (open->resolve_count == 1 && span_starts(open->resolve_to[0], SPAN("unix:")))
        unix_path = span_skip(open->resolve_to[0], 5);

    if (!is_good)
        refuse(s, REASON_PROTOCOL_ERROR, "the target is malformed", NULL);
    else if (!s->target)
        refuse(s, REASON_OVERLOAD, "out of memory", NULL);
    else if (s->dialer->is_draining)
        refuse(s, REASON_AGENT_DRAINING, NULL, NULL);
    else if (unix_path.n)
        open_unix(s, unix_path);
    else if (!acl_may_allow(s->dialer->config.acl, s->target))
        refuse(s, REASON_ACL_DENIED, "the agent's own file does not allow the target", NULL);
    else if (open->resolve_count)
        open_override(s, open);
    else if (s->target->is_literal)
        (s->resolved_by = "literal", dial_permitted(s, &s->target->addr, 1, false));
    else
        open_name(s);
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* It is open at once: what was found, a refusal too, is what it carries. */
static enum reason begin_examination(struct session *s, const struct mux_open *open)
{
    struct dialer *d = s->dialer;
    uint32_t max = d->config.diagnoses_max ? d->config.diagnoses_max : DIAGNOSES_MAX;

    if (open->kind != MUX_KIND_DIAGNOSE)
        return REASON_NONE;
    if (d->stats.diagnosing >= max || examine_new(d->config.loop, s->stream, open->tls_name, s->answer_ms, &s->exam))
        return REASON_OVERLOAD;
    d->stats.diagnosing++;
    d->stats.diagnosed++;
    LOG(INFO, "diagnose.asked", SP("principal", open->principal), SP("target", open->host), N("port", open->port),
        SP("tls_name", open->tls_name));
    mux_stream_accept(s->stream, &(struct mux_opened){ .boot_id = d->config.boot_id });
    return REASON_NONE;
}

void dialer_on_open(struct dialer *d, struct mux_stream *stream, const struct mux_open *open)
{
    struct session *s;

    if (open->kind == MUX_KIND_PROBE) {     /* proves the loop that opens streams, no more */
        mux_stream_accept(stream, &(struct mux_opened){ .boot_id = d->config.boot_id });
        mux_stream_fin(stream);
        return;
    }
    s = calloc(1, sizeof(*s) + open->range_count * sizeof(s->ranges[0]));
    if (!s) {
        mux_stream_refuse(stream, REASON_OVERLOAD, SPAN_NONE, NULL);
        return;
    }

    s->dialer = d;
    s->stream = stream;
    s->is_udp = open->kind == MUX_KIND_UDP;
    s->allow_special = open->allow_special;
    s->answer_ms = min_u32(open->answer_ms ? open->answer_ms : d->config.dial_ms, d->config.dial_ms);
    s->began_ms = loop_now_ms(d->config.loop);
    s->range_count = open->range_count;
    memcpy(s->ranges, open->ranges, open->range_count * sizeof(s->ranges[0]));
    list_append(&d->sessions, &s->node);
    d->stats.live++;
    mux_stream_set_user(stream, s);
    if (begin_examination(s, open) == REASON_NONE)
        open_target(s, open);
    else
        refuse(s, REASON_OVERLOAD, "too many diagnoses at a time", NULL);
}

/* --- the mux's handlers ------------------------------------------------------------------- */

static void on_readable(void *user, struct mux_stream *stream)
{
    struct session *s = user;

    (void)stream;
    if (s && s->udp)
        udp_on_readable(s->udp);
    else if (s && !s->exam)
        pipe_on_readable(&s->pipe);
}

static void on_writable(void *user, struct mux_stream *stream)
{
    struct session *s = user;

    (void)stream;
    if (s && s->exam)
        examine_on_writable(s->exam);
    else if (s)
        pipe_on_writable(&s->pipe);
}

static void on_datagram(void *user, struct mux_stream *stream, struct span bytes)
{
    struct session *s = user;

    (void)stream;
    if (s && s->udp)
        udp_on_datagram(s->udp, bytes);
}

static void on_reset(void *user, struct mux_stream *stream, enum reason why, struct span text)
{
    struct session *s = user;

    (void)stream;
    (void)why;
    (void)text;
    if (!s)
        return;
    stop_dialling(s);               /* nobody waits for it any more */
    pipe_on_reset(&s->pipe);
    if (s->udp)
        udp_free(TAKE(s->udp));
    if (s->exam)
        examine_on_reset(s->exam);
}

static void on_ended(void *user, struct mux_stream *stream, enum reason how)
{
    struct session *s = user;

    if (!s)
        return;
    LOG(DEBUG, "stream.ended", SP("target", target_span(s)), R("reason", how),
        U("sent_bytes", mux_stream_sent(stream)), U("received_bytes", mux_stream_consumed(stream)));
    pipe_on_ended(&s->pipe, how);
    session_free(s);
}

void dialer_handlers(struct mux_handlers *h)
{
    h->on_readable = on_readable;
    h->on_writable = on_writable;
    h->on_datagram = on_datagram;
    h->on_reset = on_reset;
    h->on_ended = on_ended;
}

/* --- the dialer ---------------------------------------------------------------------------- */

int dialer_new(const struct dialer_config *config, struct dialer **ret_dialer)
{
    struct dialer *d = calloc(1, sizeof(*d));

    if (!d)
        return -ENOMEM;

    d->config = *config;
    d->config.dial_ms = config->dial_ms ? config->dial_ms : 10000;
    list_init(&d->sessions);
    (void)!own_addrs_refresh(&d->own, loop_now_ms(config->loop));      /* again before each dial: what fails now fails then */
    *ret_dialer = d;
    return 0;
}

void dialer_free(struct dialer *d)
{
    LIST_EACH(&d->sessions, node)
        session_free(container_of(node, struct session, node));
    if (d->reach)
        agent_reach_free(d->reach);
    free(d);
}

/* A connection stands, or stood, behind it. */
static bool is_connected(const struct session *s)
{
    return s->udp || pipe_is_on(&s->pipe) || (s->exam && s->used.kind != ENDPOINT_NONE);
}

static void cut(struct session *s, enum reason why, const char *text)
{
    if (s->udp)
        udp_cut(s->udp, why, span_str(text));
    else if (s->exam)
        examine_fail(s->exam, why, text, NULL);
    else
        pipe_cut(&s->pipe, why, span_str(text));
}

void dialer_set_reach(struct dialer *d, struct agent_reach *reach)
{
    if (d->reach)
        agent_reach_free(d->reach);
    d->reach = reach;

    LIST_EACH(&d->sessions, node) {
        struct session *s = container_of(node, struct session, node);

        if (is_connected(s) && !still_permitted(s))
            cut(s, REASON_REVOKED, "the agent's policy no longer permits the target");
    }
}

bool dialer_network_changed(struct dialer *d)
{
    return own_addrs_changed(&d->own, loop_now_ms(d->config.loop));
}

void dialer_drain(struct dialer *d)
{
    d->is_draining = true;
}

const struct dialer_stats *dialer_stats(const struct dialer *d)
{
    return &d->stats;
}
