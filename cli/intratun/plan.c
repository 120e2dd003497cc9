#include "cli/intratun/plan_internal.h"
#include <stdarg.h>
#include <stdio.h>

#define DOCUMENT_MAX ((size_t)64 << 20)
#define RULES_MAX 256

/* ---- rows ---- */
struct span making_text(const struct json_value *row, const char *key)
{
    struct span text = SPAN_NONE;

    (void)json_get_str(row, key, &text);
    return span_trim(text);
}

struct span making_scalar(const struct json_value *row, const char *key, char mem[24])
{
    int64_t number;

    if (!json_get_int(row, key, &number))
        return making_text(row, key);
    snprintf(mem, 24, "%lld", (long long)number);
    return span_str(mem);
}

int64_t making_number(const struct json_value *row, const char *key)
{
    int64_t value = 0;

    (void)json_get_int(row, key, &value);
    return value;
}

const struct json_value *making_rows(const struct making *m, const char *table)
{
    return m->s->tables ? json_get(m->s->tables, table) : NULL;
}

/* Never half a character. */
static size_t cut(struct span text, size_t max)
{
    size_t n = text.n < max ? text.n : max;

    while (n && n < text.n && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

void making_put_text(struct json_writer *w, const char *key, struct span text, size_t max)
{
    char mem[512];
    size_t n = cut(text, max < sizeof(mem) ? max : sizeof(mem));

    for (size_t i = 0; i < n; i++)
        mem[i] = (unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f ? ' ' : text.p[i];
    if (span_trim(span_of(mem, n)).n)
        json_put_str(w, key, span_trim(span_of(mem, n)));
}

/* ---- what stays behind ---- */
void making_note(struct making *m, const char *format, ...)
{
    char line[700];
    struct buf text;
    va_list args;

    if (m->plan->note_count++ >= INTRATUN_NOTES_MAX)
        return;
    buf_init_fixed(&text, line, sizeof(line) - 1);
    va_start(args, format);
    buf_vprintf(&text, format, args);
    va_end(args);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < ' ' || text.data[i] == 0x7f)
            text.data[i] = '?';
    }
    buf_put_span(&m->plan->notes, buf_span(&text));
    buf_put_str(&m->plan->notes, "\n");
}

int making_name(struct making *m, struct intratun_names *names, struct span key, struct span wish, size_t row,
                const char *what, const char **ret_name)
{
    int r = key.n ? intratun_names_add(names, key, wish, row, ret_name) : -EEXIST;

    if (r != -EEXIST)
        return r;
    *ret_name = NULL;
    making_note(m, key.n ? "%s " SPAN_FMT ": is there twice; the first one counts" : "%s without an id" SPAN_FMT
                ": is left out", what, MAKING_SHOWN(key));
    return 0;
}

const char *making_name_of(const struct intratun_names *names, struct span id, size_t i)
{
    struct intratun_named found;

    return intratun_names_find(names, id, &found) && found.row == i ? found.name : NULL;
}

struct span making_agent_key(struct span login, char dst[128])
{
    snprintf(dst, 128, "agent:" SPAN_FMT, SPAN_ARG(span_first(login, 100)));
    return span_str(dst);
}

/* ---- names ---- */
static int name_users(struct making *m)
{
    const struct json_value *rows = making_rows(m, "users");
    int r = 0;

    for (size_t i = 0; !r && i < json_count(rows); i++) {
        const struct json_value *row = json_at(rows, i);
        struct span wish = making_text(row, "username");
        const char *name;

        r = making_name(m, m->users, making_text(row, "id"), wish, i, "user", &name);
        if (!r && name && !span_eq(span_str(name), wish))
            making_note(m, "user " SPAN_FMT ": is called %s here, and logs in by that name", MAKING_SHOWN(wish), name);
    }
    return r;
}

/* Memberships name an agent by its log-in; its title is what people call it. */
static int name_agent(struct making *m, size_t i)
{
    const struct json_value *row = json_at(m->s->agents, i);
    char mem[24], other[24];
    struct span login = making_scalar(row, "login", mem), title = making_scalar(row, "identification", other);
    const char *name, *unused;
    int r = making_name(m, m->agents, login, login, i, "agent", &name);

    if (r || !name)
        return r;
    if (!span_eq(span_str(name), login))
        making_note(m, "agent " SPAN_FMT ": is called %s here", MAKING_SHOWN(login), name);
    r = title.n ? intratun_names_add(m->titles, title, title, i, &unused) : 0;
    return r == -EEXIST ? 0 : r;
}

static int name_rows(struct making *m, const char *table, struct intratun_names *names, const char *what)
{
    const struct json_value *rows = making_rows(m, table);
    int r = 0;

    for (size_t i = 0; !r && i < json_count(rows); i++) {
        const struct json_value *row = json_at(rows, i);
        struct span slug = making_text(row, "slug");
        const char *name;

        r = making_name(m, names, making_text(row, "id"), slug.n ? slug : making_text(row, "name"), i, what, &name);
    }
    return r;
}

static int name_all(struct making *m)
{
    int r = name_users(m);

    for (size_t i = 0; !r && i < json_count(m->s->agents); i++)
        r = name_agent(m, i);
    if (!r)
        r = name_rows(m, "agent_groups", m->groups, "agent group");
    return r ? r : name_rows(m, "destination_profiles", m->profiles, "destination profile");
}

/* ---- users ---- */
static void put_secret(struct making *m, const char *user, const char *field, struct span secret)
{
    json_open_object(&m->secrets, NULL);
    json_put_text(&m->secrets, "user", user);
    json_put_str(&m->secrets, field, secret);
    json_close_object(&m->secrets);
}

static void put_user(struct making *m, const struct json_value *row, const char *name)
{
    struct span hash = making_text(row, "password_hash"), role = making_text(row, "role");
    bool has_hash = hash.n == 60 && span_starts(hash, SPAN("$2"));

    json_open_object(&m->w, NULL);
    json_put_text(&m->w, "name", name);
    json_put_text(&m->w, "status", span_eq(making_text(row, "status"), SPAN("active")) ? "active" : "disabled");
    json_put_bool(&m->w, "door_password", has_hash);
    json_close_object(&m->w);
    if (has_hash)
        put_secret(m, name, "password_hash", hash);
    else
        making_note(m, "user %s: has no bcrypt hash; give a password or a proxy credential", name);
    if (role.n && !span_eq(role, SPAN("user")))
        making_note(m, "user %s: the role " SPAN_FMT " had no effect there; here it is user until somebody says otherwise",
                    name, MAKING_SHOWN(role));
}

/* The log-in of an agent at the proxy: a user who may use that agent and nothing else. */
static int put_agent_user(struct making *m, size_t i)
{
    const struct json_value *row = json_at(m->s->agents, i);
    char mem[24], other[24], key[128];
    struct span login = making_scalar(row, "login", mem), password = making_scalar(row, "password", other);
    const char *name;
    int r;

    if (!making_name_of(m->agents, login, i))
        return 0;
    r = intratun_names_add(m->users, making_agent_key(login, key), login, i, &name);
    if (r)
        return r == -EEXIST ? 0 : r;
    json_open_object(&m->w, NULL);
    json_put_text(&m->w, "name", name);
    json_put_bool(&m->w, "door_password", true);
    json_put_text(&m->w, "description", "Programs that used an agent's own log-in");
    json_close_object(&m->w);
    if (password.n >= 8 && password.n <= 128)
        put_secret(m, name, "password", password);
    else
        making_note(m, "agent log-in %s: its password has not 8 to 128 characters; give another one", name);
    return 0;
}

static int put_users(struct making *m)
{
    const struct json_value *rows = making_rows(m, "users");
    int r = 0;

    json_open_array(&m->w, "users");
    for (size_t i = 0; i < json_count(rows); i++) {
        const char *name = making_name_of(m->users, making_text(json_at(rows, i), "id"), i);

        if (name)
            put_user(m, json_at(rows, i), name);
    }
    for (size_t i = 0; !r && m->options->agent_logins && i < json_count(m->s->agents); i++)
        r = put_agent_user(m, i);
    json_close_array(&m->w);
    return r;
}

/* ---- agents ---- */
static size_t put_rule(struct making *m, const char *agent, struct span pattern)
{
    const char *why;
    char mem[1024];
    struct buf rule;

    buf_init_fixed(&rule, mem, sizeof(mem));
    if (!intratun_rule(pattern, &rule, &why)) {
        making_note(m, "agent %s: the pattern " SPAN_FMT " is left out: %s", agent, MAKING_SHOWN(pattern), why);
        return 0;
    }
    json_put_str(&m->w, NULL, buf_span(&rule));
    return 1;
}

/* How many were given, and how many rules came of them. */
static void put_allow(struct making *m, const char *agent, const struct json_value *own, size_t *given, size_t *taken)
{
    struct span rest = m->options->acl_allow, pattern;

    *given = own && json_kind_of(own) == JSON_IS_ARRAY ? json_count(own) : 0;
    for (size_t i = 0; i < *given && *taken < RULES_MAX; i++) {
        pattern = SPAN_NONE;
        (void)json_as_str(json_at(own, i), &pattern);
        *taken += put_rule(m, agent, pattern);
    }
    if (*given > RULES_MAX)
        making_note(m, "agent %s: has more than %d patterns; the rest is left out", agent, RULES_MAX);
    if (*given)
        return;
    while (*taken < RULES_MAX && span_cut(&rest, '\n', &pattern)) {
        *given += pattern.n > 0;
        *taken += pattern.n ? put_rule(m, agent, pattern) : 0;
    }
}

/* An agent's own list, else the relay's.  What cannot be said makes the list shorter, never wider: an
 * agent of whose list nothing is left may dial nothing. */
static void put_rules(struct making *m, const char *agent, const struct json_value *own)
{
    size_t given = 0, taken = 0;

    json_open_array(&m->w, "allow");
    put_allow(m, agent, own, &given, &taken);
    json_close_array(&m->w);
    if (!given || taken)
        return;
    json_open_array(&m->w, "deny");
    json_put_text(&m->w, NULL, "*");
    json_close_array(&m->w);
    making_note(m, "agent %s: nothing of its access list can be said here; all is denied until you write rules", agent);
}

static void put_agent(struct making *m, const struct json_value *row, const char *name)
{
    char mem[24];

    json_open_object(&m->w, NULL);
    json_put_text(&m->w, "name", name);
    making_put_text(&m->w, "description", making_scalar(row, "identification", mem), 400);
    json_open_object(&m->w, "labels");
    making_put_text(&m->w, "location", making_scalar(row, "location", mem), 200);
    json_close_object(&m->w);
    put_rules(m, name, json_get(row, "acl_allow"));
    json_close_object(&m->w);
}

static void put_agents(struct making *m)
{
    json_open_array(&m->w, "agents");
    for (size_t i = 0; i < json_count(m->s->agents); i++) {
        const struct json_value *row = json_at(m->s->agents, i);
        char mem[24];
        const char *name = making_name_of(m->agents, making_scalar(row, "login", mem), i);

        if (name)
            put_agent(m, row, name);
    }
    json_close_array(&m->w);
}

/* ---- agent groups ---- */
static const char *find_agent(const struct making *m, struct span id)
{
    struct intratun_named found;
    char mem[24];

    if (!intratun_names_find(m->agents, id, &found) && (!intratun_names_find(m->titles, id, &found) ||
        !intratun_names_find(m->agents, making_scalar(json_at(m->s->agents, found.row), "login", mem), &found)))
        return NULL;
    return found.name;
}

static int64_t within(int64_t value, int64_t min, int64_t max)
{
    return value < min ? min : value > max ? max : value;
}

static void put_member(struct making *m, const struct json_value *row, const char *group, struct intratun_names *known)
{
    struct span id = making_text(row, "agent_id");
    const char *agent = find_agent(m, id), *unused;
    int64_t weight = making_number(row, "weight");

    if (!agent || intratun_names_add(known, span_str(agent), span_str(agent), 0, &unused)) {
        making_note(m, "agent group %s: its member " SPAN_FMT " is no agent of the YAML, or there twice", group, MAKING_SHOWN(id));
        return;
    }
    json_open_object(&m->w, NULL);
    json_put_text(&m->w, "name", agent);
    json_put_int(&m->w, "priority", within(making_number(row, "priority"), 0, 1000));
    json_put_int(&m->w, "weight", within(weight ? weight : 1, 0, 1000));
    json_put_bool(&m->w, "enabled", making_number(row, "enabled") != 0);
    json_close_object(&m->w);
}

/* Memberships by the row of their group: where each group's begin, and the next one of the same. */
struct chains {
    size_t *first, *next;               /* 1 + a row; 0: none */
};

static void chains_deinit(struct chains *c)
{
    free(c->first);
    free(c->next);
}

static int chains_make(struct making *m, const struct json_value *groups, const struct json_value *members,
                       struct chains *c)
{
    struct intratun_named found;

    c->first = calloc(json_count(groups) + 1, sizeof(*c->first));
    c->next = calloc(json_count(members) + 1, sizeof(*c->next));
    if (!c->first || !c->next)
        return -ENOMEM;
    for (size_t i = json_count(members); i-- > 0;) {
        if (!intratun_names_find(m->groups, making_text(json_at(members, i), "group_id"), &found))
            continue;
        c->next[i] = c->first[found.row];
        c->first[found.row] = i + 1;
    }
    return 0;
}

static int put_members(struct making *m, const struct json_value *members, const struct chains *c, size_t group,
                       const char *name)
{
    AUTO(intratun_names_freep) struct intratun_names *known = NULL;
    int r = intratun_names_new(&known);

    if (r)
        return r;
    json_open_array(&m->w, "members");
    for (size_t at = c->first[group]; at; at = c->next[at - 1])
        put_member(m, json_at(members, at - 1), name, known);
    json_close_array(&m->w);
    return 0;
}

static int put_group_of_agent(struct making *m, size_t i)
{
    char mem[24], key[128], wish[128];
    struct span login = making_scalar(json_at(m->s->agents, i), "login", mem);
    const char *agent = making_name_of(m->agents, login, i), *name;
    int r;

    if (!agent)
        return 0;
    snprintf(wish, sizeof(wish), "agent-%s", agent);
    r = intratun_names_add(m->groups, making_agent_key(login, key), span_str(wish), i, &name);
    if (r)
        return r == -EEXIST ? 0 : r;
    json_open_object(&m->w, NULL);
    json_put_text(&m->w, "name", name);
    json_open_array(&m->w, "members");
    json_put_text(&m->w, NULL, agent);
    json_close_array(&m->w);
    json_close_object(&m->w);
    return 0;
}

static int put_agent_groups(struct making *m)
{
    const struct json_value *rows = making_rows(m, "agent_groups"), *members = making_rows(m, "agent_memberships");
    AUTO(chains_deinit) struct chains c = { 0 };
    int r = chains_make(m, rows, members, &c);

    json_open_array(&m->w, "agent-groups");
    for (size_t i = 0; !r && i < json_count(rows); i++) {
        const struct json_value *row = json_at(rows, i);
        const char *name = making_name_of(m->groups, making_text(row, "id"), i);

        if (!name)
            continue;
        json_open_object(&m->w, NULL);
        json_put_text(&m->w, "name", name);
        making_put_text(&m->w, "description", making_text(row, making_text(row, "description").n ? "description" : "name"), 400);
        r = put_members(m, members, &c, i, name);
        json_close_object(&m->w);
    }
    for (size_t i = 0; !r && m->options->agent_logins && i < json_count(m->s->agents); i++)
        r = put_group_of_agent(m, i);
    json_close_array(&m->w);
    return r;
}

/* ---- all of it ---- */
static void note_rest(struct making *m)
{
    if (m->s->audit_events)
        making_note(m, "%lld audit events: stay in intratun's database; keep it", (long long)m->s->audit_events);
    if (!m->options->agent_logins && json_count(m->s->agents))
        making_note(m, "log-ins of agents at the proxy: are left out; --agent-logins makes a user of each");
    if (json_count(m->s->agents))
        making_note(m, "passwords of agents: have no use here; each joins with a token: adit join-token create --agent-name NAME");
}

static int write_document(struct making *m)
{
    int r = name_all(m);

    json_open_array(&m->secrets, NULL);
    json_open_object(&m->w, NULL);
    if (!r)
        r = put_users(m);
    if (!r)
        put_agents(m);
    if (!r)
        r = put_agent_groups(m);
    if (!r)
        r = making_put_profiles(m);
    if (!r)
        r = making_put_grants(m);
    if (!r)
        r = making_put_overrides(m);
    json_close_object(&m->w);
    json_close_array(&m->secrets);
    note_rest(m);
    return r ? r : buf_error(&m->plan->document) ? buf_error(&m->plan->document) : buf_error(&m->plan->secrets);
}

static int make_names(struct making *m)
{
    struct intratun_names **all[] = { &m->users, &m->agents, &m->titles, &m->groups, &m->profiles, &m->grants, &m->overrides };
    int r = 0;

    for (size_t i = 0; !r && i < ARRAY_LEN(all); i++)
        r = intratun_names_new(all[i]);
    return r;
}

static void free_names(struct making *m)
{
    struct intratun_names *all[] = { m->users, m->agents, m->titles, m->groups, m->profiles, m->grants, m->overrides };

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        intratun_names_free(all[i]);
}

int intratun_plan_make(const struct intratun_source *s, const struct intratun_options *options,
                       struct intratun_plan *ret_plan, struct buf *reterr)
{
    struct making m = { .s = s, .options = options, .plan = ret_plan };
    int r;

    *ret_plan = (struct intratun_plan){ .note_count = 0 };
    buf_init_heap(&ret_plan->document, DOCUMENT_MAX);
    buf_init_heap(&ret_plan->secrets, DOCUMENT_MAX);
    buf_init_heap(&ret_plan->notes, (size_t)INTRATUN_NOTES_MAX * 800);
    json_begin(&m.w, &ret_plan->document);
    json_begin(&m.secrets, &ret_plan->secrets);
    r = make_names(&m);
    if (!r)
        r = write_document(&m);
    free_names(&m);
    if (r)
        buf_put_str(reterr, r == -ENOMEM ? "out of memory" : "it is more than one document may hold");
    return r;
}

void intratun_plan_deinit(struct intratun_plan *p)
{
    if (p->secrets.data)
        explicit_bzero(p->secrets.data, p->secrets.len);
    buf_deinit(&p->document);
    buf_deinit(&p->secrets);
    buf_deinit(&p->notes);
}
