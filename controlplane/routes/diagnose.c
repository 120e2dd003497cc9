#include "controlplane/routes/diagnose_internal.h"
#include "controlplane/domain/check.h"
#include "controlplane/routes/answer.h"
#include "controlplane/routes/body.h"
#include "controlplane/routes/doc.h"
#include "controlplane/routes/handlers.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* POST and GET /diagnostics: what is to be tried is decided as for a stream, and then ordered. */
#define TIMEOUT_MS_DEFAULT 10000
#define TIMEOUT_MS_LEAST 1000
#define MINUTE_MS 60000
#define AT(member) offsetof(struct asked_diagnosis, member), sizeof_field(struct asked_diagnosis, member)
static const struct json_field asked_fields[] = {
    { "agent", J_TEXT, AT(agent), 1, REF_MAX, 0 },
    { "agent_group", J_TEXT, AT(agent_group), 1, REF_MAX, 0 },
    { "destination_profile", J_TEXT, AT(destination_profile), 1, REF_MAX, 0 },
    { "user", J_TEXT, AT(user), 1, REF_MAX, 0 },
    { "host", J_TEXT, AT(host), 1, ORDER_HOST_MAX, JSON_REQUIRED },
    { "port", J_INT, AT(port), 1, 65535, JSON_REQUIRED },
    { "tls", J_BOOL, AT(has_tls), 0, 0, 0 },
    { "server_name", J_TEXT, AT(server_name), 1, ORDER_HOST_MAX, 0 },
    { "timeout_ms", J_INT, AT(timeout_ms), TIMEOUT_MS_LEAST, ORDER_MS_MAX, 0 },
};

static void diagnosing_deinit(struct diagnosing *d)
{
    for (size_t i = 0; i < d->try_count; i++)
        free(d->tries[i].decision);
    store_object_free(d->subject);
    if (d->policy)
        policy_unref(d->policy);
    live_deinit(&d->live);
}

/* --- the question -------------------------------------------------------------------------------- */

static int check_leaf(struct diagnosing *d, enum leaf leaf, const char *text, const char *pointer, const char *message)
{
    const struct check_limits none = { 0 };
    unsigned char scratch[512];
    const char *why;
    struct buf out;

    buf_init_fixed(&out, scratch, sizeof(scratch));
    if (text[0] && (check_text(leaf, &none, span_str(text), &out, &why) != CHECK_OK || strpbrk(text, "*/")))
        return call_refuse_at(d->c, REASON_INVALID, pointer, message);
    return 0;
}

static int read_body(struct diagnosing *d)
{
    static const char host_message[] = "must be a name in lower case, or an address";
    struct json_error error = { .pointer = "" };
    AUTO(json_value_freep) struct json_value *body = NULL;
    int r = body_parse(d->c, &body);

    if (r)
        return r;
    d->asked.timeout_ms = TIMEOUT_MS_DEFAULT;
    r = json_decode(body, asked_fields, ARRAY_LEN(asked_fields), 0, &d->asked, &error);
    if (r)
        return r == -EINVAL ? call_refuse_at(d->c, REASON_INVALID, error.pointer, error.message) : r;
    r = check_leaf(d, LEAF_HOST_PATTERN, d->asked.host, "/host", host_message);
    if (!r)
        r = check_leaf(d, LEAF_HOST_PATTERN, d->asked.server_name, "/server_name", host_message);
    if (!r && d->asked.server_name[0] && !d->asked.has_tls)
        r = call_refuse_at(d->c, REASON_INVALID, "/server_name", "goes with tls: true");
    return r;
}

/* Exactly one says who is to try. */
static int read_subject(struct diagnosing *d)
{
    const struct {
        enum kind_id kind;
        const char *ref, *pointer;
    } rows[] = {
        { KIND_AGENT, d->asked.agent, "/agent" },
        { KIND_AGENT_GROUP, d->asked.agent_group, "/agent_group" },
        { KIND_PROFILE, d->asked.destination_profile, "/destination_profile" },
        { KIND_USER, d->asked.user, "/user" },
    };
    size_t at = 0, given = 0;
    int r;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].ref[0]) {
            at = i;
            given++;
        }
    }
    if (given != 1)
        return call_refuse_at(d->c, REASON_INVALID, "", "exactly one of: agent agent_group destination_profile user");
    r = check_leaf(d, LEAF_REF, rows[at].ref, rows[at].pointer, "must be an id or a name");
    if (r)
        return r;
    d->kind = rows[at].kind;
    if (d->kind != KIND_USER && !call_sees_all(d->c))
        return call_refuse(d->c, REASON_FORBIDDEN, "You may try what you may reach: user, and your own name.");
    r = call_find_ref(d->c, d->kind, span_str(rows[at].ref), &d->subject);
    if (r == STORE_E_NOT_FOUND && call_sees_all(d->c))
        return call_refuse_at(d->c, REASON_CONFLICT, rows[at].pointer, "does not exist");
    if (r == STORE_E_NOT_FOUND || (!r && !call_sees_all(d->c) && !call_is_own(d->c, ulid_span(&d->subject->id))))
        return call_not_found(d->c);
    return r;
}

static int read_policy(struct diagnosing *d)
{
    const struct api_options *options = &d->c->api->options;
    struct store_position position;
    int r = store_position(d->c->tx, &position);

    if (!r && !target_parse(span_str(d->asked.host), (uint16_t)d->asked.port, &d->target))
        return call_refuse_at(d->c, REASON_CONFLICT, "/host", "is no name and no address");
    if (!r)
        r = live_read(d->c->tx, &d->live);
    if (r)
        return r;
    d->policy = options->policy ? options->policy(options->policy_ctx, &position) : NULL;
    return d->policy ? 0 : call_refuse(d->c, REASON_NOT_READY, "No state was published yet.");
}

/* --- bounds: nobody scans ports with it ---------------------------------------------------------- */

static int count_one(void *ctx, const struct ulid *try, struct span doc, int64_t at_ms)
{
    (void)try, (void)doc, (void)at_ms;
    ++*(size_t *)ctx;
    return 0;
}

static int refuse_for_now(struct call *c, enum reason why, unsigned retry_after_s, const char *text)
{
    c->res->problem.retry_after_s = retry_after_s;
    return call_refuse(c, why, "%s", text);
}

static int check_rate(struct diagnosing *d)
{
    unsigned max = d->c->api->options.diagnostics_per_minute ? d->c->api->options.diagnostics_per_minute : 20;
    const struct store_query query = { .source = STORE_DIAGNOSTICS, .limit = 1, .filter_count = 2, .filters = {
        { .field = "asked_by", .op = STORE_EQ, .text = span_str(d->c->req->principal.id) },
        { .field = "at", .op = STORE_GT, .type = STORE_INT, .number = d->now_ms - MINUTE_MS } } };
    size_t under_way = 0;
    uint64_t lately = 0;
    int r = store_count(d->c->tx, &query, &lately);

    if (!r)
        r = store_reports(d->c->tx, DIAGNOSE_TOPIC, count_one, &under_way);
    if (r)
        return r;
    if (lately >= max)
        return refuse_for_now(d->c, REASON_RATE_LIMITED, 10, "You had so many diagnoses made in the last minute.");
    if (under_way + d->try_count > DIAGNOSE_UNDER_WAY_MAX)
        return refuse_for_now(d->c, REASON_OVERLOAD, 5, "Too many diagnoses are under way.");
    return 0;
}

/* --- who tries, and what he is permitted ----------------------------------------------------------- */

static const struct live_relay *relay_of(const struct diagnosing *d, const struct ulid *agent, bool *ret_is_held)
{
    *ret_is_held = false;
    for (size_t i = 0; i < d->live.agent_count; i++) {
        const struct live_agent *a = &d->live.agents[i];
        const struct live_relay *relay;

        if (!a->is_connected || !span_eq(ulid_span(&a->agent), ulid_span(agent)))
            continue;
        *ret_is_held = true;
        relay = live_relay_find(&d->live, &a->relay);
        if (relay && relay->takes_orders)
            return relay;
    }
    return NULL;
}

static struct try *add_try(struct diagnosing *d, const struct ulid *agent, const struct ulid *agentgroup)
{
    const struct agent_record *record = policy_agent(d->policy, agent);
    struct try *t;

    if (d->try_count == DIAGNOSE_TRIES_MAX) {
        d->left_out++;
        return NULL;
    }
    t = &d->tries[d->try_count++];
    *t = (struct try){ .agent = *agent, .agentgroup = *agentgroup, .id = store_new_id(d->c->api->options.store) };
    snprintf(t->agent_name, sizeof(t->agent_name), "%s", record ? record->name : "");
    t->decision = calloc(1, sizeof(*t->decision));
    return t;
}

static void find_relay(const struct diagnosing *d, struct try *t)
{
    bool is_held;
    const struct live_relay *relay = relay_of(d, &t->agent, &is_held);

    if (relay)
        t->relay = relay->id;
    else
        t->why = is_held ? REASON_UNSUPPORTED : REASON_NO_AGENT;
}

static int look(struct diagnosing *d, const struct ulid *agent, const struct ulid *agentgroup)
{
    struct try *t = add_try(d, agent, agentgroup);
    const struct policy_look look = { .target = d->target, .agent = *agent, .agentgroup = *agentgroup,
                                      .profile = d->profile, .now_ms = d->now_ms };

    if (!t)
        return 0;
    if (!t->decision)
        return -ENOMEM;
    t->why = policy_look(d->policy, &look, t->decision);
    if (t->why == REASON_NONE)
        find_relay(d, t);
    return 0;
}

static int look_by_group(struct diagnosing *d, const struct ulid *id)
{
    const struct agentgroup_record *group = policy_agentgroup(d->policy, id);
    int r = 0;

    for (size_t i = 0; !r && group && i < group->member_count; i++) {
        if (group->members[i].is_enabled)
            r = look(d, &group->members[i].agent, id);
    }
    if (!r && !d->try_count)
        return call_refuse(d->c, REASON_CONFLICT, "The agent group has no members that are enabled.");
    return r;
}

static int look_by_profile(struct diagnosing *d)
{
    const struct profile_record *profile = policy_profile(d->policy, &d->subject->id);

    if (!profile)
        return call_refuse(d->c, REASON_NOT_READY, "The profile was not published yet.");
    if (!profile->agentgroup.text[0])
        return call_refuse_at(d->c, REASON_CONFLICT, "/destination_profile", "has no agent group");
    d->profile = d->subject->id;
    return look_by_group(d, &profile->agentgroup);
}

/* Its breaker does not count: whether the target is well again is what is asked. */
static bool find_live(void *context, const struct ulid *agent, const struct ulid *agentgroup,
                      const struct target *target, struct agent_live *ret_live)
{
    const struct diagnosing *d = context;
    const struct live_agent *a = live_agent_find(&d->live, agent);

    (void)agentgroup, (void)target;
    if (!a)
        return false;
    ret_live->is_held = ret_live->is_proved = a->is_connected;
    ret_live->streams = (uint32_t)a->streams;
    ret_live->rtt_us = (uint32_t)a->rtt_us;
    return true;
}

/* As the relay would for a stream of the user, who connects from where we are asked from. */
static int decide_by_user(struct diagnosing *d)
{
    AUTO(freep) struct policy_decision *decision = calloc(1, sizeof(*decision));
    const struct policy_registry registry = { .context = d, .agent = find_live };
    const struct policy_question question = { .user = d->subject->id, .source = d->c->req->peer, .target = d->target,
                                              .now_ms = d->now_ms, .registry = &registry };
    const struct ulid none = { .text = "" };
    struct ulid agent, agentgroup = none;
    struct try *t;

    if (!decision)
        return -ENOMEM;
    if (policy_decide(d->policy, &question, decision) != REASON_NONE)
        return call_refuse(d->c, decision->reason, "%s", reason_what(decision->reason));
    if (!ulid_parse(record_id(&decision->agent->record), &agent))
        return -EINVAL;
    t = add_try(d, &agent, &agentgroup);
    free(t->decision);
    t->decision = TAKE(decision);
    find_relay(d, t);
    return 0;
}

static int look_by_agent(struct diagnosing *d)
{
    const struct ulid none = { .text = "" };

    return look(d, &d->subject->id, &none);
}

static int choose(struct diagnosing *d)
{
    if (d->kind == KIND_AGENT)
        return look_by_agent(d);
    if (d->kind == KIND_AGENT_GROUP)
        return look_by_group(d, &d->subject->id);
    return d->kind == KIND_PROFILE ? look_by_profile(d) : decide_by_user(d);
}

static int show(struct call *c, const struct ulid *id)
{
    AUTO(store_object_freep) struct store_object *row = NULL;
    AUTO(view_deinit) struct view view;
    struct json_writer w;
    int r = store_row_get(c->tx, STORE_DIAGNOSTICS, id, &row);

    view_init(&view, c, SPAN_NONE);
    json_begin(&w, &c->res->body);
    if (!r)
        r = view_record(&view, row, &w);
    return r ? r : buf_error(&c->res->body);
}

static int answer(struct diagnosing *d)
{
    struct call *c = d->c;
    int r = show(c, &d->id);

    response_header(c->res, "Location", "/api/v1/diagnostics/%s", d->id.text);
    c->res->status = 202;
    if (!r)
        r = answer_keep(c);
    if (!r)
        r = call_commit(c);
    if (!r && c->api->options.on_order)
        c->api->options.on_order(c->api->options.on_order_ctx);
    return r;
}

static int create(struct call *c)
{
    AUTO(diagnosing_deinit) struct diagnosing d = { .c = c };
    int r = read_body(&d);

    d.now_ms = (int64_t)store_now_ms(c->api->options.store);
    d.id = store_new_id(c->api->options.store);
    if (!r)
        r = read_subject(&d);
    if (!r)
        r = read_policy(&d);
    if (!r)
        r = choose(&d);
    if (!r)
        r = check_rate(&d);
    if (!r)
        r = diagnosing_keep(&d);
    return r ? r : answer(&d);
}

/* --- looking at one -------------------------------------------------------------------------------- */

#define PARK_MS_MAX (ORDER_MS_MAX + DIAGNOSE_GRACE_MS + 2000)

static int get(struct call *c)
{
    AUTO(store_object_freep) struct store_object *row = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    bool waits = false;
    struct ulid id;
    int r = call_flag(c, "finished", &waits);

    if (r)
        return r;
    if (!ulid_parse(c->req->params[0], &id))
        return call_not_found(c);
    r = store_row_get(c->tx, STORE_DIAGNOSTICS, &id, &row);
    if (!r)
        r = json_parse(row->doc, &doc, &error);
    if (r)
        return r == STORE_E_NOT_FOUND ? call_not_found(c) : r;
    if (!call_sees_all(c) && !call_is_own(c, doc_text(doc, "asked_by")))
        return call_not_found(c);
    if (waits && !c->req->is_expired && doc_is(doc, "state", "running")) {
        response_park(c->res, PARK_MS_MAX);
        return 0;
    }
    c->res->status = 200;
    return show(c, &id);
}

void on_diagnostic_create(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_WRITE, create);
}

void on_diagnostic_get(const struct route *route, struct request *req, struct response *res)
{
    call_run(route, req, res, STORE_READ, get);
}
