#include "dataplane/doors/socks_door.h"
#include "dataplane/doors/socks5.h"

enum phase { PHASE_GREETING, PHASE_PASSWORD, PHASE_REQUEST, PHASE_ASKING, PHASE_OPENING, PHASE_ASSOCIATED, PHASE_OVER };

struct socks {
    enum phase phase;
    struct principal principal;
    struct password_ask ask;        /* PHASE_ASKING: the control plane is asked about a chosen password */
    enum reason answer;             /* to it */
    bool has_answer;
    struct route *route;            /* PHASE_OPENING */
    struct association *association;        /* PHASE_ASSOCIATED */
};

/* What the parsers refuse is told in one line and, where SOCKS has one, by a reply. */
static void refuse_bytes(struct visit *v, int error)
{
    struct socks *s = visit_state(v);

    visit_refused(v, REASON_BAD_REQUEST, socks5_error_text(error));
    s->phase = PHASE_OVER;
    if (socks5_error_reply(error) != SOCKS5_SILENT)
        socks5_reply_write(visit_out(v), socks5_error_reply(error), NULL);
    visit_close(v);
}

static void reply(struct visit *v, enum socks5_reply code)
{
    struct socks *s = visit_state(v);

    s->phase = PHASE_OVER;
    socks5_reply_write(visit_out(v), code, NULL);
    visit_close(v);
}

static bool on_greeting(struct visit *v)
{
    struct socks *s = visit_state(v);
    struct socks5_greeting greeting;
    int r = socks5_greeting_parse(visit_in(v), &greeting);

    if (r == SOCKS5_E_MORE)
        return false;
    if (r) {
        refuse_bytes(v, r);
        return false;
    }
    visit_take(v, greeting.bytes);
    socks5_method_write(visit_out(v), greeting.has_password ? SOCKS5_METHOD_PASSWORD : SOCKS5_METHOD_REFUSED);
    if (!greeting.has_password) {
        visit_refused(v, REASON_AUTH_REQUIRED, "user name and password are not among the methods on offer");
        s->phase = PHASE_OVER;
        visit_close(v);
        return false;
    }
    s->phase = PHASE_PASSWORD;
    visit_flush(v);
    return true;
}

static void on_input(struct visit *v);

/* Name and password still stand in the input: they are read again, and this time somebody knows. */
static void on_answer(void *user, enum reason why)
{
    struct visit *v = user;
    struct socks *s = visit_state(v);

    s->answer = why == REASON_NONE ? REASON_AUTH_FAILED : why;
    s->has_answer = true;
    s->phase = PHASE_PASSWORD;
    visit_want_input(v, true);
    on_input(v);
}

/* A chosen password may be one that nobody has asked about yet.  True: it is asked about now. */
static bool is_asked(struct visit *v, const struct socks5_password *password, enum reason *why)
{
    struct socks *s = visit_state(v);

    if (*why != REASON_AUTH_FAILED)
        return false;
    if (s->has_answer) {
        *why = s->answer;
        return false;
    }
    s->ask = (struct password_ask){ .fn = on_answer, .user = v };
    *why = router_password_ask(visit_router(v), password->user, password->secret, visit_source(v), &s->ask);
    if (*why != REASON_NONE)
        return false;
    s->phase = PHASE_ASKING;
    visit_want_input(v, false);
    return true;
}

static bool on_password(struct visit *v)
{
    struct socks *s = visit_state(v);
    struct socks5_password password;
    enum reason why;
    int r = socks5_password_parse(visit_in(v), &password);

    if (r == SOCKS5_E_MORE)
        return false;
    if (r) {
        refuse_bytes(v, r);
        return false;
    }
    why = router_login(visit_router(v), password.user, password.secret, visit_source(v), &s->principal);
    if (is_asked(v, &password, &why))
        return false;
    if (why != REASON_NONE)
        router_tell_login_refused(visit_router(v), visit_door_name(v), password.user, visit_source(v), why);
    secret_wipe((void *)password.secret.p, password.secret.n);
    visit_take(v, password.bytes);
    socks5_password_write(visit_out(v), why == REASON_NONE);
    if (why != REASON_NONE) {
        s->phase = PHASE_OVER;
        visit_close(v);
        return false;
    }
    s->phase = PHASE_REQUEST;
    visit_flush(v);
    return true;
}

static void on_opened(void *user, struct route *r, const struct endpoint *at)
{
    struct visit *v = user;
    struct socks *s = visit_state(v);

    (void)at;
    s->route = NULL;
    s->phase = PHASE_OVER;
    socks5_reply_write(visit_out(v), SOCKS5_SUCCEEDED, NULL);
    visit_send_and_hand_over(v, r);
}

static void on_refused(void *user, struct route *r, enum reason why, struct span text)
{
    struct visit *v = user;
    struct socks *s = visit_state(v);

    (void)r;
    (void)text;
    s->route = NULL;
    reply(v, reason_socks_reply(why));
}

static const struct route_handlers route_events = {
    .on_opened = on_opened,
    .on_refused = on_refused,
    .on_move = visit_follow,
};

static void open_route(struct visit *v, const struct socks5_request *request)
{
    struct socks *s = visit_state(v);
    char text[ADDR_TEXT_MAX];
    const struct route_request want = {
        .door = visit_door_name(v),
        .principal = s->principal,
        .source = *visit_source(v),
        .host = request->name.n ? request->name : span_str(addr_format(&request->addr, text)),
        .port = request->port,
    };
    enum reason why = route_open(visit_router(v), &want, &route_events, v, &s->route);

    if (why != REASON_NONE) {
        s->route = NULL;
        reply(v, reason_socks_reply(why));
    }
}

/* --- UDP ASSOCIATE ------------------------------------------------------------------------------- */

static void on_association_idle(void *user)
{
    visit_close(user);
}

static enum reason associate(struct visit *v, const struct socks5_request *request)
{
    struct socks *s = visit_state(v);
    struct endpoint local = visit_local(v);
    bool is_told = request->name.n == 0 && addr_eq(&request->addr, visit_source(v));
    const struct association_config config = {
        .loop = visit_loop(v),
        .router = visit_router(v),
        .metrics = visit_metrics(v),
        .door = visit_door_name(v),
        .principal = s->principal,
        .client = *visit_source(v),
        .client_port = is_told ? request->port : 0,
        .at = local.addr,
        .limits = *visit_udp(v),
        .on_idle = on_association_idle,
        .user = v,
    };

    if (local.kind != ENDPOINT_IP)
        return REASON_METHOD_NOT_ALLOWED;
    if (!crowd_enter_association(visit_crowd(v), config.limits.associations_max))
        return REASON_OVERLOAD;
    if (association_open(&config, &s->association) == 0)
        return REASON_NONE;
    crowd_leave_association(visit_crowd(v));
    return REASON_OVERLOAD;
}

/* Datagrams travel without TLS: at the door that has it they would be the one thing in clear. */
static const char *why_not(const struct visit *v)
{
    if (visit_is_tls(v))
        return "datagrams are not carried at the TLS door: they would go in clear";
    return visit_udp(v)->targets_max ? NULL : "datagrams are off (udp_targets_max)";
}

static bool on_associate(struct visit *v, const struct socks5_request *request)
{
    struct socks *s = visit_state(v);
    const char *text = why_not(v);
    enum reason why = text ? REASON_METHOD_NOT_ALLOWED : associate(v, request);
    struct endpoint at;

    if (why != REASON_NONE) {
        visit_refused(v, why, text ? text : "no room for one more association");
        reply(v, reason_socks_reply(why));
        return false;
    }
    s->phase = PHASE_ASSOCIATED;
    visit_deadline(v, 0);
    visit_take(v, visit_in(v).n);
    at = association_endpoint(s->association);
    socks5_reply_write(visit_out(v), SOCKS5_SUCCEEDED, &at);
    visit_flush(v);
    return false;
}

static bool on_request(struct visit *v)
{
    struct socks *s = visit_state(v);
    struct socks5_request request;
    int r = socks5_request_parse(visit_in(v), &request);

    if (r == SOCKS5_E_MORE)
        return false;
    if (r) {
        refuse_bytes(v, r);
        return false;
    }
    if (request.command == SOCKS5_UDP_ASSOCIATE)
        return on_associate(v, &request);
    if (request.command != SOCKS5_CONNECT) {
        visit_refused(v, REASON_METHOD_NOT_ALLOWED, "only CONNECT and UDP ASSOCIATE are served");
        reply(v, SOCKS5_COMMAND_UNKNOWN);
        return false;
    }
    s->phase = PHASE_OPENING;
    visit_deadline(v, 0);
    visit_want_input(v, false);
    open_route(v, &request);
    if (s->phase == PHASE_OPENING)
        visit_take(v, request.bytes);
    return false;
}

static void on_input(struct visit *v)
{
    static bool (*const steps[])(struct visit *) = {
        [PHASE_GREETING] = on_greeting,
        [PHASE_PASSWORD] = on_password,
        [PHASE_REQUEST] = on_request,
    };
    struct socks *s = visit_state(v);

    /* A step's answer may find the client gone: nothing may be opened for him then. */
    while (!visit_is_over(v) && s->phase < PHASE_ASKING && steps[s->phase](v))
        ;
    if (!visit_is_over(v) && s->phase == PHASE_ASSOCIATED)
        visit_take(v, visit_in(v).n);       /* the connection only says that the client lives */
}

static void on_gone(struct visit *v)
{
    struct socks *s = visit_state(v);

    router_password_forget(&s->ask);
    if (s->route)
        route_abandon(TAKE(s->route), REASON_CLIENT_GONE);
    if (s->association) {
        association_close(TAKE(s->association));
        crowd_leave_association(visit_crowd(v));
    }
}

/* A client that ends before its request was whole has nothing to be told. */
static void on_end(struct visit *v)
{
    struct socks *s = visit_state(v);

    if (s->phase != PHASE_OPENING)
        visit_close(v);         /* an association ends with its connection */
}

static void on_sent(struct visit *v)
{
    (void)v;
}

/* SOCKS has no reply for it: the connection just ends. */
static void on_deadline(struct visit *v)
{
    visit_refused(v, REASON_REQUEST_TIMEOUT, "the greeting or request did not arrive in time");
    visit_close(v);
}

const struct door_protocol socks_door = {
    .name = "socks5",
    .tls_name = "socks5s",
    .on_input = on_input,
    .on_end = on_end,
    .on_sent = on_sent,
    .on_deadline = on_deadline,
    .on_gone = on_gone,
    .state_bytes = sizeof(struct socks),
};
