#include "controlplane/routes/cookie.h"
#include "controlplane/routes/answer.h"
#include "controlplane/routes/enforce.h"
#include "controlplane/routes/handlers.h"
#include <errno.h>
#include <stdio.h>

/* me, revisions, status: about the caller, about how far changes have come, about the whole. */

/* ---- me ---- */
static void put_scopes(const struct principal *p, struct json_writer *w)
{
    struct span rest = span_str(p->scopes), scope;

    json_open_array(w, "scopes");
    while (span_cut(&rest, ' ', &scope))
        json_put_str(w, NULL, scope);
    json_close_array(w);
}

static const struct route *route_of(const struct api *api, const char *operation)
{
    for (size_t i = 0; i < api->route_count; i++) {
        if (span_eq(span_str(api->routes[i].operation), span_str(operation)))
            return &api->routes[i];
    }
    return NULL;
}

static void put_permission(const struct call *c, const struct right *right, struct json_writer *w)
{
    const struct principal *p = &c->req->principal;
    const struct route *route = route_of(c->api, right->operation);
    bool is_public = !right->any && !right->own;
    bool has_role = is_public || (p->roles & (right->any | right->own));
    bool has_scope = is_public || !route || !route->scope || principal_has_scope(p, route->scope);

    json_open_object(w, right->operation);
    json_put_bool(w, "allowed", has_role && has_scope);
    if (has_role && !is_public && !(p->roles & right->any))
        json_put_bool(w, "only_own", true);
    if (!has_role || !has_scope)
        json_put_text(w, "reason",
                      has_role ? "Your token has not the scope." : "Your role does not allow it.");
    json_close_object(w);
}

/* Who came by cookie learns what his changes must carry; pages of other sites cannot read this. */
static void put_csrf(const struct request *req, struct json_writer *w)
{
    char csrf[CSRF_TOKEN_MAX];
    struct span token;

    if (!req->principal.is_session || !cookie_get(req, COOKIE_SESSION, &token))
        return;
    csrf_token(token, csrf);
    json_put_text(w, "csrf_token", csrf);
}

static int show_me(struct call *c)
{
    const struct principal *p = &c->req->principal;
    const struct right *right;
    struct json_writer w;

    json_begin(&w, &c->res->body);
    json_open_object(&w, NULL);
    json_open_object(&w, "user");
    json_put_text(&w, "id", p->id);
    json_put_text(&w, "kind", p->kind);
    json_put_text(&w, "name", p->name);
    json_close_object(&w);
    json_put_text(&w, "role", role_name(p->roles));
    json_put_text(&w, "token", p->token_id[0] ? p->token_id : NULL);
    put_csrf(c->req, &w);
    put_scopes(p, &w);
    json_open_object(&w, "permissions");
    for (size_t i = 0; (right = right_at(i)); i++)
        put_permission(c, right, &w);
    json_close_object(&w);
    json_close_object(&w);
    c->res->status = 200;
    return buf_error(&c->res->body);
}

/* ---- revisions ---- */
static void put_features(const char *key, uint32_t features, struct json_writer *w)
{
    json_open_array(w, key);
    for (unsigned i = 0; i < STATE_FEATURE_COUNT; i++) {
        if (features & 1u << i)
            json_put_text(w, NULL, state_feature_name(i));
    }
    json_close_array(w);
}

static void put_relay(const struct live_relay *relay, const struct store_position *position, uint32_t in_force,
                      struct json_writer *w)
{
    bool is_applied = relay->epoch > position->epoch ||
        (relay->epoch == position->epoch && relay->revision >= position->revision);

    json_open_object(w, NULL);
    json_put_text(w, "id", relay->id.text);
    json_put_bool(w, "applied", is_applied);
    json_put_bool(w, "connected", relay->is_connected);
    json_put_int(w, "applied_revision", (int64_t)relay->revision);
    json_put_int(w, "lag", is_applied ? 0 : (int64_t)(position->revision - relay->revision));
    put_features("cannot_enforce", enforce_missing(relay, in_force), w);
    if (relay->refuses[0])
        json_put_text(w, "refuses", relay->refuses);
    json_close_object(w);
}

static int show_revision(struct call *c)
{
    AUTO(live_deinit) struct live live = { 0 };
    struct store_position current;
    uint32_t in_force = enforce_in_force(c);
    struct json_writer w;
    uint64_t number;
    int r = store_position(c->tx, &current);

    if (!r)
        r = live_read(c->tx, &live);
    if (r)
        return r;
    if (!span_to_u64(c->req->params[0], INT64_MAX, &number) || number > current.revision)
        return call_not_found(c);
    c->position = (struct store_position){ current.epoch, number };
    json_begin(&w, &c->res->body);
    json_open_object(&w, NULL);
    json_put_int(&w, "epoch", (int64_t)current.epoch);
    json_put_int(&w, "revision", (int64_t)number);
    json_put_int(&w, "current", (int64_t)current.revision);
    json_put_bool(&w, "applied", live_has_applied(&live, &c->position));
    json_open_array(&w, "relays");
    for (size_t i = 0; i < live.relay_count; i++)
        put_relay(&live.relays[i], &c->position, in_force, &w);
    json_close_array(&w);
    json_close_object(&w);
    c->res->status = 200;
    call_wait(c);
    return buf_error(&c->res->body);
}

/* ---- status ---- */
#define LISTED_MAX 20

struct counts {
    size_t total, connected;
};

struct findings {
    struct json_writer *w;
    struct live *live;
    struct counts *counts;
    const char *what, *cure;
    uint32_t in_force;                  /* features that relays need */
    size_t too_old;
    bool is_agent, is_degraded;
    size_t unproved;
};

struct finding {
    const char *severity, *what, *cure;
    enum reason reason;
    int64_t since_ms;                   /* 0: not known */
};

static void put_finding(struct findings *f, const struct finding *finding, const struct store_object *row)
{
    f->is_degraded = true;
    json_open_object(f->w, NULL);
    json_put_text(f->w, "severity", finding->severity);
    json_put_text(f->w, "reason", reason_text(finding->reason));
    json_put_text(f->w, "what", finding->what);
    json_put_text(f->w, "cure", finding->cure);
    if (finding->since_ms)
        view_time(f->w, "since", finding->since_ms);
    json_open_array(f->w, "objects");
    json_open_object(f->w, NULL);
    json_put_text(f->w, "id", row->id.text);
    json_put_text(f->w, "name", row->name);
    json_close_object(f->w);
    json_close_array(f->w);
    json_close_object(f->w);
}

/* A relay that is too old keeps the state that it had: what came since, it does not enforce. */
static void check_age(struct findings *f, const struct live_relay *relay, const struct store_object *row)
{
    uint32_t missing = relay ? enforce_missing(relay, f->in_force) : 0;
    char mem[768];
    struct buf what;

    if (!relay || !relay->is_admitted || (!missing && !relay->refuses[0]) || f->too_old++ >= LISTED_MAX)
        return;
    buf_init_fixed(&what, mem, sizeof(mem) - 1);
    buf_put_str(&what, "A relay is too old for the state that is in force, and keeps the one that it had");
    if (missing)
        buf_put_str(&what, "; it cannot enforce: ");
    enforce_names(missing, &what);
    if (relay->refuses[0])
        buf_printf(&what, "; it says: %s", relay->refuses);
    buf_put_str(&what, ".");
    mem[what.len] = 0;
    put_finding(f, &(struct finding){ .severity = "error", .reason = REASON_RELAY_TOO_OLD, .what = mem,
                                      .cure = reason_cure(REASON_RELAY_TOO_OLD), .since_ms = relay->at_ms }, row);
}

static void check_proof(struct findings *f, const struct store_object *row)
{
    int64_t since_ms = live_agent_unproved_since(f->live, &row->id);

    if (!since_ms || ++f->unproved > LISTED_MAX)
        return;
    put_finding(f, &(struct finding){ .severity = "warning", .reason = REASON_AGENT_UNPROVED,
                                      .what = reason_what(REASON_AGENT_UNPROVED),
                                      .cure = reason_cure(REASON_AGENT_UNPROVED), .since_ms = since_ms }, row);
}

static int check_presence(void *ctx, const struct store_object *row)
{
    struct findings *f = ctx;
    const struct live_agent *agent = f->is_agent ? live_agent_find(f->live, &row->id) : NULL;
    const struct live_relay *relay = f->is_agent ? NULL : live_relay_find(f->live, &row->id);
    bool is_connected = (agent && agent->is_connected) || (relay && relay->is_connected);

    f->counts->total++;
    f->counts->connected += is_connected;
    check_age(f, relay, row);
    if (is_connected && f->is_agent)
        check_proof(f, row);
    if (is_connected || f->counts->total - f->counts->connected > LISTED_MAX)
        return 0;
    put_finding(f, &(struct finding){
        .severity = "warning", .what = f->what, .cure = f->cure,
        .reason = f->is_agent ? REASON_NO_AGENT : REASON_CONTROL_UNREACHABLE,
        .since_ms = agent ? agent->at_ms : relay ? relay->at_ms : 0,
    }, row);
    return 0;
}

static int check_kind(struct call *c, const char *kind, struct findings *f)
{
    struct store_query query = { .source = STORE_OBJECTS, .kind = kind, .limit = STORE_LIMIT_MAX };

    return store_list_all(c->tx, &query, check_presence, f);
}

static void put_counts(struct json_writer *w, const char *key, const struct counts *counts)
{
    json_open_object(w, key);
    json_put_int(w, "total", (int64_t)counts->total);
    json_put_int(w, "connected", (int64_t)counts->connected);
    json_close_object(w);
}

static const char *health_of(const struct findings *f, const struct counts *relays)
{
    if (!relays->connected)
        return "down";
    return f->is_degraded ? "degraded" : "good";
}

static int show_status(struct call *c)
{
    AUTO(live_deinit) struct live live = { 0 };
    struct counts relays = { 0 }, agents = { 0 };
    struct store_position position;
    struct json_writer w;
    struct findings f = { .w = &w, .live = &live, .in_force = enforce_in_force(c) };
    int64_t streams = 0;
    int r = store_position(c->tx, &position);

    if (!r)
        r = live_read(c->tx, &live);
    if (r)
        return r;
    json_begin(&w, &c->res->body);
    json_open_object(&w, NULL);
    json_open_array(&w, "findings");
    f.counts = &relays;
    f.what = "A relay does not report.";
    f.cure = "Start it, or mend the way between it and the control plane; look at its log.";
    r = check_kind(c, "relay", &f);
    f.counts = &agents;
    f.is_agent = true;
    f.what = "An agent is not connected to any relay.";
    f.cure = "Start it; look at its log.";
    if (!r)
        r = check_kind(c, "agent", &f);
    json_close_array(&w);
    for (size_t i = 0; i < live.relay_count; i++)
        streams += live.relays[i].is_connected ? live.relays[i].streams : 0;
    json_put_text(&w, "health", health_of(&f, &relays));
    json_put_int(&w, "epoch", (int64_t)position.epoch);
    json_put_int(&w, "revision", (int64_t)position.revision);
    put_counts(&w, "relays", &relays);
    put_counts(&w, "agents", &agents);
    json_open_object(&w, "streams");
    json_put_int(&w, "open", streams);
    json_close_object(&w);
    json_close_object(&w);
    c->res->status = 200;
    return r ? r : buf_error(&c->res->body);
}

void on_me(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, show_me);
}

void on_revision(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, show_revision);
}

void on_status(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, show_status);
}
