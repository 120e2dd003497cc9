#include "controlplane/domain/check.h"
#include "controlplane/domain/when.h"
#include "controlplane/routes/answer.h"
#include "controlplane/routes/breaker.h"
#include "controlplane/routes/handlers.h"
#include "controlplane/routes/used.h"
#include "lib/policy/decide.h"
#include <errno.h>
#include <stdio.h>

/* access/explain: the decision that a relay would make, told in full. */
struct question {
    struct call *c;
    struct store_object *user;
    struct policy *policy;
    struct policy_question asked;
    struct policy_registry registry;
    struct live live;
};

static void question_deinit(struct question *q)
{
    store_object_free(q->user);
    if (q->policy)
        policy_unref(q->policy);
    live_deinit(&q->live);
}

struct breaker_look {
    const struct ulid *agentgroup;
    const struct target *target;
    int64_t now_ms, left_ms;        /* -1: none is open */
};

static int see_breaker(void *ctx, const struct breaker_seen *b)
{
    struct breaker_look *look = ctx;
    int64_t left_ms = b->is_trying ? 1000 : b->until_ms - look->now_ms;

    if (span_eq(ulid_span(&b->agentgroup), ulid_span(look->agentgroup)) &&
        span_eq(b->host, span_str(look->target->name)) && b->port == look->target->port && left_ms > 0)
        look->left_ms = left_ms;
    return 0;
}

static void look_at_breakers(const struct question *q, const struct ulid *agentgroup, const struct target *target,
                             struct agent_live *live)
{
    struct breaker_look look = { agentgroup, target, q->live.now_ms, -1 };

    if (breakers_seen(q->c->tx, &q->live, see_breaker, &look) || look.left_ms < 0)
        return;
    live->is_breaker_open = true;
    live->breaker_ms = (uint32_t)look.left_ms;
}

static bool find_live(void *context, const struct ulid *agent, const struct ulid *agentgroup,
                      const struct target *target, struct agent_live *ret_live)
{
    const struct question *q = context;
    const struct live_agent *a = live_agent_find(&q->live, agent);

    if (!a)
        return false;
    look_at_breakers(q, agentgroup, target, ret_live);
    ret_live->is_held = a->is_connected;
    ret_live->is_proved = a->is_connected && !live_agent_unproved_since(&q->live, agent);
    ret_live->streams = (uint32_t)a->streams;
    ret_live->rtt_us = (uint32_t)a->rtt_us;
    return true;
}

/* Limits on what comes in a second are the relays' alone to know. */
static bool quota_has_room(void *context, const struct quota_record *quota, uint64_t *ret_wait_ms)
{
    const struct question *q = context;
    struct ulid id;
    struct used used;

    if (!ulid_parse(record_id(&quota->record), &id) || used_read(q->c->tx, &q->live, &id, &used))
        return true;
    if (quota->streams && used.streams >= quota->streams)
        return false;
    if (!quota->bytes_per_day || used.bytes < quota->bytes_per_day)
        return true;
    *ret_wait_ms = (uint64_t)(used.day_end_ms - q->live.now_ms);
    return false;
}

/* ---- the question ---- */
static int read_target(struct question *q)
{
    struct span host, port;
    struct check_limits none = { 0 };
    unsigned char scratch[512];
    const char *message;
    struct buf out;
    uint64_t number;

    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (!request_query(q->c->req, "host", &host) || span_starts(host, SPAN("*"))
        || span_find(host, '/') < host.n
        || check_text(LEAF_HOST_PATTERN, &none, host, &out, &message) != CHECK_OK)
        return call_refuse_at(q->c, REASON_INVALID, "?host",
                              "is required: a name in lower case, or an address");
    if (!request_query(q->c->req, "port", &port) || !span_to_u64(port, 65535, &number)
        || port.p[0] == '0')
        return call_refuse_at(q->c, REASON_INVALID, "?port",
                              "is required: a whole number from 1 to 65535");
    if (!target_parse(host, (uint16_t)number, &q->asked.target))
        return call_refuse_at(q->c, REASON_CONFLICT, "?host", "is no name and no address");
    return 0;
}

static int read_source(struct question *q)
{
    struct check_limits none = { 0 };
    unsigned char scratch[128];
    const char *message;
    struct span text;
    struct buf out;

    q->asked.source = addr_v4(127, 0, 0, 1);
    if (!request_query(q->c->req, "source", &text))
        return 0;
    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (check_text(LEAF_ADDRESS, &none, text, &out, &message) != CHECK_OK ||
        !addr_parse(text, &q->asked.source))
        return call_refuse_at(q->c, REASON_INVALID, "?source", "must be an IPv4 or IPv6 address");
    return 0;
}

static int read_time(struct question *q)
{
    struct check_limits none = { 0 };
    unsigned char scratch[64];
    const char *message;
    struct span text;
    struct buf out;

    q->asked.now_ms = (int64_t)store_now_ms(q->c->api->options.store);
    if (!request_query(q->c->req, "at", &text))
        return 0;
    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (check_text(LEAF_TIME, &none, text, &out, &message) != CHECK_OK
        || !when_parse(text, &q->asked.now_ms))
        return call_refuse_at(q->c, REASON_INVALID, "?at",
                              "must be a time like 2031-01-31T18:00:00Z");
    return 0;
}

static int read_user(struct question *q)
{
    struct check_limits none = { 0 };
    unsigned char scratch[64];
    const char *message;
    struct span ref;
    struct buf out;
    int r;

    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (!request_query(q->c->req, "user", &ref) ||
        check_text(LEAF_REF, &none, ref, &out, &message) != CHECK_OK)
        return call_refuse_at(q->c, REASON_INVALID, "?user", "is required: a user's id or name");
    r = call_find_ref(q->c, KIND_USER, ref, &q->user);
    if (r)
        return r == STORE_E_NOT_FOUND ? call_not_found(q->c) : r;
    if (!call_sees_all(q->c) && !call_is_own(q->c, ulid_span(&q->user->id)))
        return call_not_found(q->c);
    q->asked.user = q->user->id;
    return 0;
}

static int read_policy(struct question *q)
{
    const struct api_options *options = &q->c->api->options;
    struct store_position position;
    int r = store_position(q->c->tx, &position);

    if (r)
        return r;
    q->policy = options->policy ? options->policy(options->policy_ctx, &position) : NULL;
    return q->policy ? 0 : call_refuse(q->c, REASON_NOT_READY, "No state was published yet.");
}

static int read_question(struct question *q)
{
    int r = read_target(q);

    if (!r)
        r = read_source(q);
    if (!r)
        r = read_time(q);
    if (!r)
        r = read_user(q);
    if (!r)
        r = live_read(q->c->tx, &q->live);
    if (!r)
        r = read_policy(q);
    if (r)
        return r;
    q->registry = (struct policy_registry){ .context = q, .agent = find_live,
                                             .quota_has_room = quota_has_room };
    q->asked.registry = &q->registry;
    return 0;
}

/* ---- the answer ---- */
/* Relays need no names of grants and locks, so only the database has them. */
static void put_stored_name(const struct question *q, const char *key, const char *id,
                            struct json_writer *w)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    struct ulid ulid;

    if (ulid_parse(span_str(id), &ulid) && store_object_get(q->c->tx, NULL, &ulid, &object) == 0 &&
        object->name[0])
        json_put_text(w, key, object->name);
}

/* "agent": its id, and "agent_name" where it has one. */
static void put_named(const struct question *q, const char *key, const struct record *record,
                      struct json_writer *w)
{
    const char *name = record ? record_name(record) : NULL;
    char name_key[32];

    json_put_text(w, key, record ? record->id : NULL);
    snprintf(name_key, sizeof(name_key), "%s_name", key);
    if (name)
        json_put_text(w, name_key, name);
    else if (record)
        put_stored_name(q, name_key, record->id, w);
}

#define PUT_NAMED(q, key, thing_, w) put_named((q), (key), (thing_) ? &(thing_)->record : NULL, (w))

static void put_wait(uint64_t wait_ms, struct json_writer *w)
{
    if (wait_ms)
        json_put_int(w, "retry_after_s", (int64_t)(wait_ms + 999) / 1000);
}

static void put_candidate(const struct question *q, const struct policy_refusal *refusal,
                          struct json_writer *w)
{
    const struct record *record = policy_find(q->policy, refusal->kind, ulid_span(&refusal->id));

    json_open_object(w, NULL);
    if (record)
        put_named(q, record_kind_name(refusal->kind), record, w);
    else
        json_put_text(w, record_kind_name(refusal->kind), refusal->id.text);
    if (refusal->agentgroup.text[0])
        PUT_NAMED(q, "agent_group", policy_agentgroup(q->policy, &refusal->agentgroup), w);
    json_put_text(w, "reason", reason_text(refusal->reason));
    put_wait(refusal->wait_ms, w);
    json_close_object(w);
}

static void put_chosen(const struct question *q, const struct policy_decision *d,
                       struct json_writer *w)
{
    json_open_object(w, NULL);
    PUT_NAMED(q, "grant", d->grant, w);
    if (d->profile)
        PUT_NAMED(q, "profile", d->profile, w);
    PUT_NAMED(q, "agent_group", d->agentgroup, w);
    PUT_NAMED(q, "agent", d->agent, w);
    json_put_text(w, "reason", reason_text(REASON_NONE));
    json_close_object(w);
}

static void put_candidates(const struct question *q, const struct policy_decision *d,
                           struct json_writer *w)
{
    json_open_array(w, "candidates");
    if (d->reason == REASON_NONE)
        put_chosen(q, d, w);
    for (size_t i = 0; i < d->refusal_count; i++)
        put_candidate(q, &d->refusals[i], w);
    json_close_array(w);
}

#define RAISE_QUOTA "Raise the limit of the quota that is used up.", "All that falls under the quota."

/* What would mend it, by the reason: an operation and on what. */
static const struct {
    enum reason reason;
    const char *operation, *method, *path, *what, *widens;
} cures[] = {
    { REASON_NO_GRANT, "grants.create", "POST", "/api/v1/grants",
      "Make a grant for the user, or a group of his, on a profile that names the target.",
      "Everything else that the profile names." },
    { REASON_GRANT_EXPIRED, "grants.update", "PATCH", "/api/v1/grants/{grant}",
      "Move the end of the grant.", "Everything else that the grant covers." },
    { REASON_GRANT_NOT_NOW, "grants.update", "PATCH", "/api/v1/grants/{grant}",
      "Widen the days and hours of the grant, or its start.",
      "Everything else that the grant covers." },
    { REASON_SOURCE_DENIED, "grants.update", "PATCH", "/api/v1/grants/{grant}",
      "Add the source to the networks of the grant.", "Everything else that the grant covers." },
    { REASON_USER_DISABLED, "users.update", "PATCH", "/api/v1/users/{user}",
      "Make the user active.", "All other access of the user." },
    { REASON_LOCKED, "locks.delete", "DELETE", "/api/v1/locks/{lock}", "Lift the lock.",
      "Everything else that the lock holds back." },
    { REASON_ACL_DENIED, "agents.update", "PATCH", "/api/v1/agents/{agent}",
      "Let the agent's list allow the target; its own file must allow it too.",
      "The target, for all who have a grant." },
    { REASON_QUOTA_USER, "quotas.update", "PATCH", "/api/v1/quotas/{quota}", RAISE_QUOTA },
    { REASON_QUOTA_GROUP, "quotas.update", "PATCH", "/api/v1/quotas/{quota}", RAISE_QUOTA },
    { REASON_QUOTA_AGENT, "quotas.update", "PATCH", "/api/v1/quotas/{quota}", RAISE_QUOTA },
    { REASON_QUOTA_ALL, "quotas.update", "PATCH", "/api/v1/quotas/{quota}", RAISE_QUOTA },
    { REASON_BREAKER_OPEN, "breakers.delete", "DELETE", "/api/v1/breakers/{id}",
      "Mend the target, then reset its breaker, or wait until it lets one try.", "Nothing." },
    { REASON_NO_AGENT, "agent-groups.members.put", "PUT",
      "/api/v1/agent-groups/{agent_group}/members/{member}",
      "Start an agent of the group, or put one that is connected into it.",
      "All that the group serves, through that agent." },
};

static void put_cure(const struct question *q, size_t i, const struct policy_decision *d,
                     struct json_writer *w)
{
    const struct right *right = right_find(span_str(cures[i].operation));
    unsigned narrowest = 0;

    for (unsigned bit = ROLE_BIT_USER; bit && !narrowest; bit >>= 1)
        narrowest = right->any & bit;
    json_open_object(w, NULL);
    json_put_text(w, "operation", cures[i].operation);
    json_put_text(w, "method", cures[i].method);
    json_put_text(w, "path", cures[i].path);
    json_put_text(w, "what", cures[i].what);
    json_put_text(w, "widens", cures[i].widens);
    json_put_text(w, "role", role_name(narrowest));
    json_put_bool(w, "you_may", (q->c->req->principal.roles & right->any) != 0);
    if (d->reason == REASON_NO_GRANT) {
        json_open_object(w, "body");
        json_put_text(w, "user", q->user->id.text);
        json_close_object(w);
    }
    json_close_object(w);
}

static void put_cures(const struct question *q, const struct policy_decision *d,
                      struct json_writer *w)
{
    json_open_array(w, "cures");
    for (size_t i = 0; i < ARRAY_LEN(cures); i++) {
        if (cures[i].reason == d->reason)
            put_cure(q, i, d, w);
    }
    json_close_array(w);
}

static void put_way(const struct question *q, const struct policy_decision *d,
                    struct json_writer *w)
{
    const struct live_agent *held = NULL;
    struct ulid agent;

    if (d->agent && ulid_parse(record_id(&d->agent->record), &agent))
        held = live_agent_find(&q->live, &agent);
    PUT_NAMED(q, "grant", d->grant, w);
    PUT_NAMED(q, "profile", d->profile, w);
    PUT_NAMED(q, "agent_group", d->agentgroup, w);
    PUT_NAMED(q, "agent", d->agent, w);
    PUT_NAMED(q, "lock", d->lock, w);
    PUT_NAMED(q, "quota", d->quota, w);
    put_wait(d->wait_ms, w);
    json_put_text(w, "relay", held && held->is_connected ? held->relay.text : NULL);
}

static void put_answer(const struct question *q, const struct policy_decision *d,
                       struct json_writer *w)
{
    char source[ADDR_TEXT_MAX];

    json_open_object(w, NULL);
    json_put_bool(w, "allowed", d->reason == REASON_NONE);
    json_put_text(w, "reason", reason_text(d->reason));
    json_put_text(w, "what", reason_what(d->reason));
    json_put_text(w, "cure", reason_cure(d->reason));
    json_open_object(w, "user");
    json_put_text(w, "id", q->user->id.text);
    json_put_text(w, "name", q->user->name);
    json_close_object(w);
    json_put_text(w, "host", q->asked.target.name);
    json_put_int(w, "port", q->asked.target.port);
    json_put_text(w, "source", addr_format(&q->asked.source, source));
    view_time(w, "at", q->asked.now_ms);
    put_way(q, d, w);
    put_candidates(q, d, w);
    put_cures(q, d, w);
    json_close_object(w);
}

static int explain(struct call *c)
{
    AUTO(question_deinit) struct question q = { .c = c };
    AUTO(freep) struct policy_decision *decision = calloc(1, sizeof(*decision));
    struct json_writer w;
    int r;

    if (!decision)
        return -ENOMEM;
    r = read_question(&q);
    if (r)
        return r;
    policy_decide(q.policy, &q.asked, decision);
    json_begin(&w, &c->res->body);
    put_answer(&q, decision, &w);
    c->res->status = 200;
    return buf_error(&c->res->body);
}

void on_explain(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, explain);
}
