#include "lib/policy/record.h"

enum { ARRAYS_MAX = 4 };

/* What a kind is called and weighs, where its name is, and what it owns. */
struct kind_row {
    const char *name;
    size_t size;
    size_t name_at;             /* 0: kinds without a name */
    size_t arrays[ARRAYS_MAX];  /* pointers to free, 0 ends */
    void (*deinit)(struct record *r);
};

static void deinit_rules(struct acl_rule *rules, size_t n)
{
    for (size_t i = 0; i < n; i++)
        acl_rule_deinit(&rules[i]);
}

static void deinit_agent(struct record *r)
{
    struct agent_record *agent = (struct agent_record *)(void *)r;

    deinit_rules(agent->allow, agent->allow_count);
    deinit_rules(agent->deny, agent->deny_count);
    deinit_rules(agent->special, agent->special_count);
}

static void deinit_profile(struct record *r)
{
    struct profile_record *profile = (struct profile_record *)(void *)r;

    for (size_t i = 0; i < profile->host_count; i++)
        host_pattern_deinit(&profile->hosts[i]);
}

static void deinit_override(struct record *r)
{
    host_pattern_deinit(&((struct override_record *)(void *)r)->host);
}

#define NAMED(type) sizeof(struct type), offsetof(struct type, name)
#define NAMELESS(type) sizeof(struct type), 0
static const struct kind_row kinds[RECORD_KIND_COUNT] = {
    [RECORD_USER] = { "user", NAMED(user_record), { offsetof(struct user_record, groups) }, NULL },
    [RECORD_GROUP] = { "group", NAMED(group_record), { 0 }, NULL },
    [RECORD_CREDENTIAL] = { "credential", NAMELESS(credential_record),
                            { offsetof(struct credential_record, sources) }, NULL },
    [RECORD_AGENT] = { "agent", NAMED(agent_record),
                       { offsetof(struct agent_record, allow), offsetof(struct agent_record, deny),
                         offsetof(struct agent_record, special) },
                       deinit_agent },
    [RECORD_AGENTGROUP] = { "agentgroup", NAMED(agentgroup_record),
                            { offsetof(struct agentgroup_record, members) }, NULL },
    [RECORD_PROFILE] = { "profile", NAMED(profile_record),
                         { offsetof(struct profile_record, hosts),
                           offsetof(struct profile_record, ports) },
                         deinit_profile },
    [RECORD_GRANT] = { "grant", NAMELESS(grant_record),
                       { offsetof(struct grant_record, windows),
                         offsetof(struct grant_record, offsets),
                         offsetof(struct grant_record, sources) },
                       NULL },
    [RECORD_OVERRIDE] = { "override", NAMELESS(override_record),
                          { offsetof(struct override_record, addrs) }, deinit_override },
    [RECORD_LOCK] = { "lock", NAMELESS(lock_record), { 0 }, NULL },
    [RECORD_CUT] = { "cut", NAMELESS(cut_record), { 0 }, NULL },
    [RECORD_RELAY] = { "relay", NAMED(relay_record), { 0 }, NULL },
    [RECORD_AGENTPOLICY] = { "agentpolicy", NAMELESS(agentpolicy_record),
                             { offsetof(struct agentpolicy_record, document) }, NULL },
    [RECORD_SETTING] = { "setting", NAMELESS(setting_record), { 0 }, NULL },
    [RECORD_QUOTA] = { "quota", NAMELESS(quota_record), { offsetof(struct quota_record, offsets) }, NULL },
};

const char *record_kind_name(enum record_kind kind)
{
    return (unsigned)kind < RECORD_KIND_COUNT ? kinds[kind].name : "none";
}

bool record_kind_parse(struct span text, enum record_kind *ret_kind)
{
    for (enum record_kind k = 0; k < RECORD_KIND_COUNT; k++) {
        if (span_eq(text, span_str(kinds[k].name))) {
            *ret_kind = k;
            return true;
        }
    }
    return false;
}

static bool set_id(struct record *r, struct span id)
{
    struct setting_record *s = (struct setting_record *)(void *)r;

    if (r->kind == RECORD_SETTING)
        return id.n > 0 && span_copy(id, s->name, sizeof(s->name));
    return id.n == ULID_LEN && span_copy(id, r->id, sizeof(r->id));
}

struct record *record_new(enum record_kind kind, struct span id)
{
    struct record *r = calloc(1, kinds[kind].size);

    if (!r)
        return NULL;
    r->kind = kind;
    if (!set_id(r, id)) {
        free(r);
        return NULL;
    }
    r->refs = 1;
    return r;
}

struct record *record_ref(struct record *r)
{
    __atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
    return r;
}

void record_unref(struct record *r)
{
    const struct kind_row *row;

    if (!r || __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    row = &kinds[r->kind];
    if (row->deinit)
        row->deinit(r);
    for (size_t i = 0; i < ARRAYS_MAX && row->arrays[i]; i++)
        free(*(void **)(void *)((char *)r + row->arrays[i]));
    free(r);
}

const char *record_name(const struct record *r)
{
    return kinds[r->kind].name_at ? (const char *)r + kinds[r->kind].name_at : NULL;
}
