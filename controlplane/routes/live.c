#include "controlplane/routes/live.h"
#include "controlplane/routes/doc.h"
#include "lib/state/feature.h"
#include <errno.h>
#include <string.h>

static bool same_id(const struct ulid *a, const struct ulid *b)
{
    return !memcmp(a->text, b->text, ULID_LEN);
}

static int append_agent(struct live *live, const struct live_agent *agent)
{
    if (!agent->agent.text[0] || live->agent_count == LIVE_AGENTS_MAX)
        return 0;
    if (live->agent_count == live->agent_room) {
        size_t room = live->agent_room ? live->agent_room * 2 : 64;
        struct live_agent *agents = realloc(live->agents, room * sizeof(*agents));

        if (!agents)
            return -ENOMEM;
        live->agents = agents;
        live->agent_room = room;
    }
    live->agents[live->agent_count++] = *agent;
    return 0;
}

static int add_agent(struct live *live, const struct live_relay *relay,
                     const struct json_value *row)
{
    return append_agent(live, &(struct live_agent){
        .agent = doc_id(row, "id"),
        .relay = relay->id,
        .at_ms = relay->at_ms,
        .rtt_us = doc_int(row, "rtt_us"),
        .streams = doc_int(row, "streams"),
        .links = json_get(row, "links") ? doc_int(row, "links") : 1,
        .proved_ms = doc_int(row, "proved_ms"),
        .unproved_since_ms = json_get(row, "unproved_ms") ? relay->at_ms - doc_int(row, "unproved_ms") : 0,
        .is_connected = relay->is_connected,
    });
}

static struct live_agent *find_row(struct live *live, const struct ulid *agent,
                                   const struct ulid *relay)
{
    for (size_t i = 0; i < live->agent_count; i++) {
        if (same_id(&live->agents[i].agent, agent) && same_id(&live->agents[i].relay, relay))
            return &live->agents[i];
    }
    return NULL;
}

/* An agent that came or went about when its relay reported: the report's list may have been
 * made before, so the event counts. */
static int add_presence(void *ctx, const struct ulid *agent, struct span doc, int64_t at_ms)
{
    struct live *live = ctx;
    AUTO(json_value_freep) struct json_value *v = NULL;
    struct json_error error;
    const struct live_relay *relay;
    struct live_agent *row;
    struct ulid relay_id;
    int r = json_parse(doc, &v, &error);

    if (r)
        return r == -ENOMEM ? r : 0;
    relay_id = doc_id(v, "relay");
    relay = live_relay_find(live, &relay_id);
    if (!relay || !relay->is_connected || at_ms < relay->at_ms - LIVE_REPORT_MS)
        return 0;
    row = find_row(live, agent, &relay_id);
    if (row) {
        row->is_connected = doc_bool(v, "is_up");
        if (at_ms > relay->at_ms)
            row->unproved_since_ms = 0;     /* the report is of a link before */
        return 0;
    }
    if (!doc_bool(v, "is_up"))
        return 0;
    return append_agent(live, &(struct live_agent){
        .agent = *agent, .relay = relay_id, .at_ms = at_ms, .rtt_us = doc_int(v, "rtt_us"), .links = 1,
        .is_connected = true,
    });
}

struct reading {
    struct store_tx *tx;
    struct live *live;
};

/* A relay that was deleted or disabled reports no more and is not waited for. */
static int is_admitted(struct store_tx *tx, const struct ulid *id, bool *ret_is_admitted)
{
    AUTO(store_object_freep) struct store_object *relay = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = store_object_get(tx, "relay", id, &relay);

    *ret_is_admitted = false;
    if (!r)
        r = json_parse(relay->doc, &doc, &error);
    if (!r)
        *ret_is_admitted = doc_is(doc, "status", "active");
    return r == STORE_E_NOT_FOUND ? 0 : r;
}

static uint32_t features_of(const struct json_value *report)
{
    const struct json_value *names = json_get(report, "features");
    uint32_t features = 0;
    struct span name;

    for (size_t i = 0; names && i < json_count(names); i++) {
        if (json_as_str(json_at(names, i), &name))
            features |= state_feature_bit(name);
    }
    return features;
}

static bool takes_command(const struct json_value *report, const char *command)
{
    const struct json_value *commands = json_get(report, "commands");
    struct span each;

    for (size_t i = 0; commands && i < json_count(commands); i++) {
        if (json_as_str(json_at(commands, i), &each) && span_eq(each, span_str(command)))
            return true;
    }
    return false;
}

static int add_relay(void *ctx, const struct ulid *subject, struct span doc, int64_t at_ms)
{
    struct reading *reading = ctx;
    struct live *live = reading->live;
    AUTO(json_value_freep) struct json_value *v = NULL;
    const struct json_value *agents;
    struct live_relay *relay;
    struct json_error error;
    bool counts;
    int r;

    if (live->relay_count == LIVE_RELAYS_MAX)
        return 0;
    r = is_admitted(reading->tx, subject, &counts);
    if (r)
        return r;
    r = json_parse(doc, &v, &error);
    if (r)
        return r == -ENOMEM ? r : 0;
    agents = json_get(v, "agents");
    relay = &live->relays[live->relay_count++];
    *relay = (struct live_relay){
        .id = *subject,
        .epoch = (uint64_t)doc_int(v, "epoch"),
        .revision = (uint64_t)doc_int(v, "revision"),
        .at_ms = at_ms,
        .streams = doc_int(v, "streams"),
        .agents = (int64_t)(agents ? json_count(agents) : 0),
        .is_connected = counts && at_ms + LIVE_FRESH_MS > live->now_ms,
        .is_admitted = counts,
        .features = features_of(v),
        .takes_orders = takes_command(v, "diagnose"),
    };
    (void)span_copy(span_first(doc_text(v, "refuses"), sizeof(relay->refuses) - 1), relay->refuses,
                    sizeof(relay->refuses));
    if (!span_copy(doc_text(v, "software"), relay->version, sizeof(relay->version)))
        relay->version[0] = 0;
    for (size_t i = 0; !r && agents && i < json_count(agents); i++)
        r = add_agent(live, relay, json_at(agents, i));
    return r;
}

int live_read(struct store_tx *tx, struct live *ret_live)
{
    struct live live = { .now_ms = (int64_t)store_now_ms(store_of(tx)) };
    int r;

    live.relays = calloc(LIVE_RELAYS_MAX, sizeof(*live.relays));
    if (!live.relays)
        return -ENOMEM;
    r = store_reports(tx, "relay.applied", add_relay, &(struct reading){ tx, &live });
    if (!r)
        r = store_reports(tx, "agent.presence", add_presence, &live);
    if (r)
        live_deinit(&live);
    else
        *ret_live = live;
    return r;
}

void live_deinit(struct live *live)
{
    free(live->relays);
    free(live->agents);
    *live = (struct live){ 0 };
}

const struct live_relay *live_relay_find(const struct live *live, const struct ulid *relay)
{
    for (size_t i = 0; i < live->relay_count; i++) {
        if (same_id(&live->relays[i].id, relay))
            return &live->relays[i];
    }
    return NULL;
}

const struct live_agent *live_agent_find(const struct live *live, const struct ulid *agent)
{
    const struct live_agent *found = NULL;

    for (size_t i = 0; i < live->agent_count; i++) {
        const struct live_agent *a = &live->agents[i];

        if (same_id(&a->agent, agent) && (!found || (a->is_connected && !found->is_connected)))
            found = a;
    }
    return found;
}

int64_t live_agent_unproved_since(const struct live *live, const struct ulid *agent)
{
    int64_t since_ms = 0;

    for (size_t i = 0; i < live->agent_count; i++) {
        const struct live_agent *a = &live->agents[i];

        if (!a->is_connected || !same_id(&a->agent, agent))
            continue;
        if (!a->unproved_since_ms)
            return 0;
        if (a->unproved_since_ms > since_ms)
            since_ms = a->unproved_since_ms;
    }
    return since_ms;
}

static bool is_any_connected(const struct live *live)
{
    for (size_t i = 0; i < live->relay_count; i++) {
        if (live->relays[i].is_connected)
            return true;
    }
    return false;
}

bool live_has_applied(const struct live *live, const struct store_position *position)
{
    bool waits_for_all = !is_any_connected(live);

    for (size_t i = 0; i < live->relay_count; i++) {
        const struct live_relay *r = &live->relays[i];
        bool is_behind = r->epoch < position->epoch ||
            (r->epoch == position->epoch && r->revision < position->revision);

        if (is_behind && (r->is_connected || (waits_for_all && r->is_admitted)))
            return false;
    }
    return true;
}
