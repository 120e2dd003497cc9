#include "lib/policy/match_internal.h"
#include "lib/policy/window.h"
#include <string.h>

bool match_ulid(const struct ulid *a, const struct ulid *b)
{
    return strcmp(a->text, b->text) == 0;
}

bool match_is_set(const struct ulid *id)
{
    return id->text[0] != '\0';
}

struct acl match_acl_of(const struct agent_record *agent)
{
    return (struct acl){ .allow = agent->allow, .allow_count = agent->allow_count,
                         .deny = agent->deny, .deny_count = agent->deny_count,
                         .special = agent->special, .special_count = agent->special_count };
}

/* IPv4 and IPv6 never match each other (addr.h), though one form holds both. */
static unsigned shortest_prefix(const struct addr *a)
{
    return addr_is_v4(a) ? ADDR_BITS - 32 : 0;
}

/* "a.b.c" gives "b.c", then "c", then false. */
static bool cut_label(struct span *name)
{
    size_t dot = span_find(*name, '.');

    if (dot == name->n)
        return false;
    *name = span_skip(*name, dot + 1);
    return true;
}

static void probe(struct match_look *look, enum index_tag tag, struct span key)
{
    const struct pmap *map = &look->p->index[tag];

    if (map->count)
        look->probes[look->n++] = (struct pmap_probe){ .map = map, .key = key,
                                                       .hash = pmap_hash(map, key) };
}

static void probe_prefixes(struct match_look *look)
{
    unsigned shortest = shortest_prefix(&look->t->addr);

    for (; look->bits > shortest && look->n < MATCH_PROBES; look->bits--) {
        char *key = look->keys[look->n];

        if (look->p->profile_prefixes[look->bits - 1] == 0)
            continue;
        index_cidr_bytes(&look->t->addr, look->bits - 1, key);
        probe(look, INDEX_CIDR, span_of(key, INDEX_CIDR_KEY));
    }
    if (look->bits == shortest)
        look->bits = 0;
}

static void probe_names(struct match_look *look)
{
    while (look->name.n && look->n < MATCH_PROBES) {
        probe(look, look->is_whole ? INDEX_HOST : INDEX_SUFFIX, look->name);
        look->is_whole = false;
        if (!cut_label(&look->name))
            look->name = SPAN_NONE;
    }
}

/* The next look-ups, and `extra` more that stand behind them. */
static void look_on(struct match_look *look, const struct pmap_probe *extra)
{
    look->n = 0;
    if (look->t->is_literal)
        probe_prefixes(look);
    else
        probe_names(look);
    if (extra)
        look->probes[look->n] = *extra;
    pmap_get_all(look->probes, look->n + (extra != NULL));
}

void match_look(struct match_look *look, const struct policy *p, const struct target *t,
                const struct ulid *user)
{
    struct pmap_probe extra = { .map = &p->by_id[RECORD_USER] };

    look->p = p;
    look->t = t;
    look->name = t->is_literal ? SPAN_NONE : span_str(t->name);
    look->is_whole = true;
    look->bits = t->is_literal ? ADDR_BITS + 1 : 0;
    look->user = NULL;
    if (!user) {
        look_on(look, NULL);
        return;
    }
    extra.key = ulid_span(user);
    extra.hash = look->user_hash = pmap_hash(extra.map, extra.key);
    look_on(look, &extra);
    look->user = RECORD_AS(look->probes[look->n].value, USER, user_record);
}

bool match_visit(struct match_look *look, profile_visit *visit, void *context)
{
    for (;;) {
        for (size_t i = 0; i < look->n; i++) {
            const struct index_hits hits = index_hits_of(look->probes[i].value);

            for (size_t k = 0; k < hits.n; k++) {
                const struct profile_record *profile = RECORD_AS(index_hit(&hits, k), PROFILE, profile_record);

                if (ports_have(profile->ports, profile->port_count, look->t->port) &&
                    visit(context, profile))
                    return true;
            }
        }
        if (!look->name.n && !look->bits)
            return false;
        look_on(look, NULL);
    }
}

bool match_profiles(const struct policy *p, const struct target *t, profile_visit *visit,
                    void *context)
{
    struct match_look look;

    match_look(&look, p, t, NULL);
    return match_visit(&look, visit, context);
}

static bool is_wanted(void *context, const struct profile_record *profile)
{
    return context == profile;
}

bool match_resolves(const struct profile_record *profile, const struct target *t)
{
    bool has_prefix = false;

    for (size_t i = 0; i < profile->host_count && !has_prefix; i++)
        has_prefix = profile->hosts[i].kind == HOST_CIDR;
    return has_prefix && profile->match_resolved && !t->is_literal &&
           ports_have(profile->ports, profile->port_count, t->port);
}

bool match_covers(const struct policy *p, const struct profile_record *profile,
                  const struct target *t)
{
    return match_profiles(p, t, is_wanted, (void *)profile) || match_resolves(profile, t);
}

/* Of one list: an agent's before an agent group's before everybody's, then by id. */
static const struct override_record *narrowest(struct index_hits hits,
                                               const struct ulid *agentgroup,
                                               const struct ulid *agent)
{
    const struct override_record *best = NULL;

    for (size_t i = 0; i < hits.n; i++) {
        const struct override_record *o = RECORD_AS(index_hit(&hits, i), OVERRIDE, override_record);

        if ((o->scope == OVERRIDE_AGENT && !match_ulid(&o->scope_id, agent)) ||
            (o->scope == OVERRIDE_AGENTGROUP && !match_ulid(&o->scope_id, agentgroup)))
            continue;
        if (!best || o->scope > best->scope)
            best = o;
    }
    return best;
}

const struct override_record *match_override(const struct policy *p, const struct target *t,
                                             const struct ulid *agentgroup,
                                             const struct ulid *agent)
{
    struct span name = span_str(t->name);
    struct index_key key = index_key(INDEX_OVER_HOST, name, SPAN_NONE);
    const struct override_record *found;

    if (t->is_literal || policy_count(p, RECORD_OVERRIDE) == 0)
        return NULL;
    found = narrowest(index_find(p, &key), agentgroup, agent);
    while (!found && cut_label(&name)) {
        key = index_key(INDEX_OVER_SUFFIX, name, SPAN_NONE);
        found = narrowest(index_find(p, &key), agentgroup, agent);
    }
    return found;
}

static const struct lock_record *lock_in_force(struct index_hits hits, int64_t now_ms)
{
    for (size_t i = 0; i < hits.n; i++) {
        const struct lock_record *l = RECORD_AS(index_hit(&hits, i), LOCK, lock_record);

        if (l->until_ms == 0 || now_ms < l->until_ms)
            return l;
    }
    return NULL;
}

const struct lock_record *match_lock(const struct policy *p, enum lock_kind kind,
                                     const struct ulid *id, int64_t now_ms)
{
    struct index_key key;

    if (p->locks[kind] == 0)
        return NULL;
    key = index_key_kind(INDEX_LOCK, kind, ulid_span(id));
    return lock_in_force(index_find(p, &key), now_ms);
}

const struct lock_record *match_lock_address(const struct policy *p, const struct addr *addr,
                                             int64_t now_ms)
{
    const struct lock_record *found = NULL;

    if (p->locks[LOCK_ADDRESS] == 0)
        return NULL;
    for (unsigned bits = ADDR_BITS + 1; bits-- > shortest_prefix(addr) && !found;) {
        const struct index_key key = index_key_cidr(INDEX_LOCK_CIDR, addr, bits);

        if (p->lock_prefixes[bits] > 0)
            found = lock_in_force(index_find(p, &key), now_ms);
    }
    return found;
}

const struct lock_record *match_lock_user(const struct policy *p, const struct user_record *user,
                                          const struct addr *source, int64_t now_ms)
{
    struct ulid user_id = { 0 };
    const struct lock_record *found;

    span_copy(record_id(&user->record), user_id.text, sizeof(user_id.text));
    found = match_lock(p, LOCK_USER, &user_id, now_ms);
    for (size_t i = 0; i < user->group_count && !found; i++)
        found = match_lock(p, LOCK_GROUP, &user->groups[i], now_ms);
    return found ? found : match_lock_address(p, source, now_ms);
}

struct lock_search {
    const struct policy *p;
    int64_t now_ms;
    const struct lock_record *found;
};

static bool profile_is_locked(void *context, const struct profile_record *profile)
{
    struct lock_search *search = context;
    struct ulid id = { 0 };

    span_copy(record_id(&profile->record), id.text, sizeof(id.text));
    search->found = match_lock(search->p, LOCK_PROFILE, &id, search->now_ms);
    return search->found != NULL;
}

const struct lock_record *match_lock_target(const struct policy *p, const struct target *t,
                                            int64_t now_ms)
{
    struct lock_search search = { .p = p, .now_ms = now_ms };
    const struct addr plain = addr_unwrap(&t->addr);

    if (t->is_literal)
        search.found = match_lock_address(p, &t->addr, now_ms);
    if (t->is_literal && !search.found)
        search.found = match_lock_address(p, &plain, now_ms);
    if (!search.found && p->locks[LOCK_PROFILE] > 0)
        match_profiles(p, t, profile_is_locked, &search);
    return search.found;
}

bool match_sources(const struct cidr *sources, size_t n, const struct addr *source)
{
    for (size_t i = 0; i < n; i++) {
        if (cidr_has(&sources[i], source))
            return true;
    }
    return n == 0;
}

enum reason match_grant_in_force(const struct grant_record *g, const struct addr *source,
                                 int64_t now_ms, int64_t *ret_again_ms)
{
    int64_t again_ms;
    bool in_window = window_holds(g, now_ms, &again_ms);

    if (g->end_ms && g->end_ms < again_ms)
        again_ms = g->end_ms;
    if (ret_again_ms)
        *ret_again_ms = again_ms;
    if (g->end_ms && now_ms >= g->end_ms)
        return REASON_GRANT_EXPIRED;
    if (now_ms < g->start_ms || !in_window)
        return REASON_GRANT_NOT_NOW;
    return match_sources(g->sources, g->source_count, source) ? REASON_NONE : REASON_SOURCE_DENIED;
}
