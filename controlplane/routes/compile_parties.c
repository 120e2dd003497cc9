#include "controlplane/domain/closure.h"
#include "controlplane/routes/compile_internal.h"
#include "controlplane/routes/lapse.h"
#include "lib/base/utf8.h"
#include "lib/policy/pac.h"
#include <errno.h>

/* Records of who takes part: users, groups, credentials, agents and their groups, relays. */
#define AGENTS_MAX 100000

int compile_array(const struct json_value *doc, const char *field, size_t size, void **ret_items)
{
    size_t count = doc_count(doc, field);

    *ret_items = count ? calloc(count, size) : NULL;
    return count && !*ret_items ? -ENOMEM : 0;
}

int compile_networks(const struct json_value *doc, const char *field, struct cidr **ret_items,
                     size_t *ret_count)
{
    size_t count = doc_count(doc, field);
    int r = compile_array(doc, field, sizeof(**ret_items), (void **)ret_items);

    for (size_t i = 0; !r && i < count; i++)
        r = cidr_parse(doc_item(doc, field, i), &(*ret_items)[i]) ? 0 : -EINVAL;
    *ret_count = *ret_items ? count : 0;
    return r;
}

void compile_text(struct span text, char *dst, size_t dst_size)
{
    size_t n = 0;

    while (n < text.n) {
        size_t step = utf8_len(span_skip(text, n));

        if (step == UTF8_BAD || n + step >= dst_size)
            break;
        n += step;
    }
    if (!span_copy(span_first(text, n), dst, dst_size))
        dst[0] = 0;
}

static int add_group(void *ctx, const struct store_member *member)
{
    return closure_add(ctx, &member->group);
}

static int next_groups(void *ctx, const struct ulid *id, struct closure *c)
{
    return store_groups_of(ctx, "group", id, NULL, CLOSURE_IDS_MAX, add_group, c);
}

int compile_user(struct compile *c, struct record *record)
{
    struct user_record *user = container_of(record, struct user_record, record);
    AUTO(closure_deinit) struct closure groups = { 0 };
    int r;

    compile_text(span_str(c->object->name), user->name, sizeof(user->name));
    user->is_active = doc_is(c->doc, "status", "active");
    r = closure_walk(&c->object->id, next_groups, c->tx, &groups);
    if (r)
        return r;
    user->group_count = groups.count;
    user->groups = TAKE(groups.ids);
    return 0;
}

int compile_group(struct compile *c, struct record *record)
{
    struct group_record *group = container_of(record, struct group_record, record);

    compile_text(span_str(c->object->name), group->name, sizeof(group->name));
    return 0;
}

/* Relays see to it by the time that they are given, whether or not they can ask us. */
static int compile_expiry(struct compile *c, const struct ulid *user, int64_t *ret_ms)
{
    AUTO(store_object_freep) struct store_object *object = NULL;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    int64_t end_ms = doc_time(c->doc, "expires_at");
    struct json_error error;
    int r = store_object_get(c->tx, NULL, user, &object);

    if (!r)
        r = json_parse(object->doc, &doc, &error);
    if (r && r != STORE_E_NOT_FOUND)
        return r;
    *ret_ms = r ? end_ms : lapse_earlier(end_ms, lapse_at(doc));
    return 0;
}

int compile_credential(struct compile *c, struct record *record)
{
    struct credential_record *credential = container_of(record, struct credential_record, record);
    struct store_secret secret;
    int r;

    r = store_secret_get(c->tx, &c->object->id, "credential", &secret);
    if (r)
        return r < 0 ? r : -EINVAL;
    if (!span_copy(span_of(secret.value, secret.value_len), credential->hash,
                   sizeof(credential->hash)))
        return -EINVAL;
    credential->user = doc_id(c->doc, "user");
    r = compile_expiry(c, &credential->user, &credential->expires_ms);
    return r ? r : compile_networks(c->doc, "source_networks", &credential->sources,
                            &credential->source_count);
}

static int compile_rules(const struct json_value *doc, const char *field,
                         struct acl_rule **ret_rules, size_t *ret_count)
{
    size_t count = doc_count(doc, field);
    int r = compile_array(doc, field, sizeof(**ret_rules), (void **)ret_rules);

    for (size_t i = 0; !r && i < count; i++) {
        r = acl_rule_parse(doc_item(doc, field, i), &(*ret_rules)[i]);
        *ret_count = r ? i : i + 1;
    }
    return r;
}

/* Only denials: everything else is allowed. */
static int allow_all(struct agent_record *agent)
{
    agent->allow = calloc(1, sizeof(*agent->allow));
    if (!agent->allow)
        return -ENOMEM;
    agent->allow_count = 1;
    return acl_rule_parse(SPAN("*"), agent->allow);
}

int compile_agent(struct compile *c, struct record *record)
{
    struct agent_record *agent = container_of(record, struct agent_record, record);
    struct store_certificate last;
    int r;

    compile_text(span_str(c->object->name), agent->name, sizeof(agent->name));
    agent->is_active = doc_is(c->doc, "status", "active");
    r = store_certificate_last(c->tx, &c->object->id, &last);
    if (r < 0)
        return r;
    /* The one before passes too: the answer to a renewal may be lost on its way. */
    agent->generation = r ? 0 : last.generation - (last.generation > 1);
    agent->has_acl = doc_count(c->doc, "allow") || doc_count(c->doc, "deny");
    r = compile_rules(c->doc, "allow", &agent->allow, &agent->allow_count);
    if (!r)
        r = compile_rules(c->doc, "deny", &agent->deny, &agent->deny_count);
    return !r && agent->has_acl && !agent->allow_count ? allow_all(agent) : r;
}

int compile_pac_link(struct compile *c, struct record *record)
{
    struct setting_record *setting = container_of(record, struct setting_record, record);
    struct ulid user = doc_id(c->doc, "user");
    struct store_secret secret;
    struct buf value;
    int r;

    r = store_secret_get(c->tx, &c->object->id, "pac", &secret);
    if (r)
        return r < 0 ? r : -EINVAL;
    buf_init_fixed(&value, setting->value, sizeof(setting->value) - 1);
    pac_setting_value(span_of(secret.value, secret.value_len), &user, doc_time(c->doc, "expires_at"), &value);
    return buf_error(&value);
}

int compile_relay(struct compile *c, struct record *record)
{
    struct relay_record *relay = container_of(record, struct relay_record, record);

    compile_text(span_str(c->object->name), relay->name, sizeof(relay->name));
    compile_text(doc_text(c->doc, "address"), relay->address, sizeof(relay->address));
    compile_text(doc_text(c->doc, "zone"), relay->zone, sizeof(relay->zone));
    relay->is_active = doc_is(c->doc, "status", "active");
    return 0;
}

/* ---- agent groups: members by name, then by selector ---- */
struct gather {
    struct agentgroup_record *group;
    const struct json_value *selector;
    size_t room;
};

static bool has_member(const struct agentgroup_record *group, const struct ulid *agent)
{
    for (size_t i = 0; i < group->member_count; i++) {
        if (span_eq(ulid_span(&group->members[i].agent), ulid_span(agent)))
            return true;
    }
    return false;
}

static int add_agent(struct gather *g, const struct agentgroup_member *member)
{
    size_t room = g->room ? g->room * 2 : 16;
    struct agentgroup_member *members;

    if (g->group->member_count == AGENTS_MAX)
        return -ENOSPC;
    if (g->group->member_count == g->room) {
        members = realloc(g->group->members, room * sizeof(*members));
        if (!members)
            return -ENOMEM;
        g->group->members = members;
        g->room = room;
    }
    g->group->members[g->group->member_count++] = *member;
    return 0;
}

static int add_named(void *ctx, const struct store_member *member)
{
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = json_parse(member->doc, &doc, &error);

    return r ? r : add_agent(ctx, &(struct agentgroup_member){
        .agent = member->member,
        .priority = doc_int(doc, "priority"),
        .weight = doc_int(doc, "weight"),
        .is_enabled = doc_bool(doc, "enabled"),
    });
}

bool compile_selects(const struct json_value *selector, const struct json_value *labels)
{
    for (size_t i = 0; i < json_count(selector); i++) {
        struct span key, want, have;
        char name[64];

        if (!json_as_str(json_member(selector, i, &key), &want)
            || !span_copy(key, name, sizeof(name)) || !json_get_str(labels, name, &have)
            || !span_eq(want, have))
            return false;
    }
    return json_count(selector) > 0;
}

static int add_selected(void *ctx, const struct store_object *row)
{
    struct gather *g = ctx;
    AUTO(json_value_freep) struct json_value *doc = NULL;
    struct json_error error;
    int r = json_parse(row->doc, &doc, &error);

    if (r)
        return r;
    if (!compile_selects(g->selector, json_get(doc, "labels")) || has_member(g->group, &row->id))
        return 0;
    return add_agent(g, &(struct agentgroup_member){ row->id, 100, 1, true });
}

static int gather_selected(struct compile *c, struct gather *g)
{
    struct store_query query = { .source = STORE_OBJECTS,
                                 .kind = "agent",
                                 .limit = STORE_LIMIT_MAX };

    return store_list_all(c->tx, &query, add_selected, g);
}

static enum routing_mode routing_mode_of(struct span text)
{
    static const struct {
        const char *text;
        enum routing_mode mode;
    } modes[] = {
        { "weighted", ROUTE_WEIGHTED },
        { "least-streams", ROUTE_LEAST_STREAMS },
        { "lowest-latency", ROUTE_LOWEST_LATENCY },
    };

    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (span_eq(text, span_str(modes[i].text)))
            return modes[i].mode;
    }
    return ROUTE_PRIORITY;
}

int compile_agent_group(struct compile *c, struct record *record)
{
    struct agentgroup_record *group = container_of(record, struct agentgroup_record, record);
    struct gather g = { group, json_get(c->doc, "selector"), 0 };
    int r;

    compile_text(span_str(c->object->name), group->name, sizeof(group->name));
    group->mode = routing_mode_of(doc_text(c->doc, "routing_mode"));
    r = store_members_of(c->tx, "agent-group", &c->object->id, NULL, AGENTS_MAX, add_named, &g);
    if (!r && json_count(g.selector))
        r = gather_selected(c, &g);
    return r;
}
