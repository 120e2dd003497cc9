#include "cli/intratun/plan_internal.h"
#include "controlplane/domain/check.h"
#include <stdio.h>

#define KEY_MAX 600

/* ---- destination profiles ---- */
static bool has_form(enum leaf leaf, struct span text)
{
    struct check_limits none = { 0 };
    const char *message;
    char mem[512];
    struct buf canonical;

    buf_init_fixed(&canonical, mem, sizeof(mem));
    return check_text(leaf, &none, text, &canonical, &message) == CHECK_OK;
}

/* The API takes names in small letters. */
static struct span lower(struct span text, char mem[256])
{
    size_t n = text.n < 255 ? text.n : 255;

    for (size_t i = 0; i < n; i++)
        mem[i] = text.p[i] >= 'A' && text.p[i] <= 'Z' ? (char)(text.p[i] - 'A' + 'a') : text.p[i];
    while (n && mem[n - 1] == '.')
        n--;
    return span_of(mem, n);
}

static bool has_target(const struct json_value *row)
{
    int64_t port = making_number(row, "port");
    char mem[256];

    return has_form(LEAF_HOST_PATTERN, lower(making_text(row, "host"), mem)) && port >= 1 && port <= 65535;
}

static void put_profile(struct making *m, const struct json_value *row, const char *name, const char *group)
{
    char port[24], mem[256];

    snprintf(port, sizeof(port), "%lld", (long long)making_number(row, "port"));
    json_open_object(&m->w, NULL);
    json_put_text(&m->w, "name", name);
    making_put_text(&m->w, "description", making_text(row, making_text(row, "notes").n ? "notes" : "name"), 400);
    json_open_array(&m->w, "hosts");
    json_put_str(&m->w, NULL, lower(making_text(row, "host"), mem));
    json_close_array(&m->w);
    json_open_array(&m->w, "ports");
    json_put_text(&m->w, NULL, port);
    json_close_array(&m->w);
    json_put_text(&m->w, "agent_group", group);
    json_close_object(&m->w);
}

/* False, and noted: what it names cannot be, or is not there. */
static bool is_good(struct making *m, const struct json_value *row, const char *name, const char **ret_group)
{
    struct intratun_named group;

    if (!has_target(row)) {
        making_note(m, "destination profile %s: " SPAN_FMT " is no host, or its port is none", name,
                    MAKING_SHOWN(making_text(row, "host")));
        return false;
    }
    if (!intratun_names_find(m->groups, making_text(row, "default_group_id"), &group)) {
        making_note(m, "destination profile %s: its agent group is not there", name);
        return false;
    }
    *ret_group = group.name;
    return true;
}

/* A grant may send a profile's target through another group: that is a profile of its own here, whose key
 * is both ids. */
static struct span via_key(struct span profile, struct span group, char mem[KEY_MAX])
{
    snprintf(mem, KEY_MAX, SPAN_FMT "|" SPAN_FMT, SPAN_ARG(span_first(profile, 250)), SPAN_ARG(span_first(group, 250)));
    return span_str(mem);
}

static bool is_another_group(const struct json_value *profile, struct span group)
{
    return group.n && !span_eq(making_text(profile, "default_group_id"), group);
}

static int put_profile_via(struct making *m, const struct json_value *grant, const struct json_value *profiles)
{
    struct span id = making_text(grant, "destination_profile_id"), group_id = making_text(grant, "group_id");
    struct intratun_named profile, group;
    const char *name, *unused;
    char key[KEY_MAX], wish[200];
    int r;

    if (!id.n || !intratun_names_find(m->profiles, id, &profile) ||
        !is_another_group(json_at(profiles, profile.row), group_id) || !intratun_names_find(m->groups, group_id, &group) ||
        !is_good(m, json_at(profiles, profile.row), profile.name, &unused))
        return 0;
    snprintf(wish, sizeof(wish), "%s-via-%s", profile.name, group.name);
    r = intratun_names_add(m->profiles, via_key(id, group_id, key), span_str(wish), profile.row, &name);
    if (r)
        return r == -EEXIST ? 0 : r;
    put_profile(m, json_at(profiles, profile.row), name, group.name);
    return 0;
}

int making_put_profiles(struct making *m)
{
    const struct json_value *rows = making_rows(m, "destination_profiles"), *grants = making_rows(m, "access_grants");
    int r = 0;

    json_open_array(&m->w, "destination-profiles");
    for (size_t i = 0; i < json_count(rows); i++) {
        const char *name = making_name_of(m->profiles, making_text(json_at(rows, i), "id"), i), *group;

        if (name && is_good(m, json_at(rows, i), name, &group))
            put_profile(m, json_at(rows, i), name, group);
    }
    for (size_t i = 0; !r && i < json_count(grants); i++)
        r = put_profile_via(m, json_at(grants, i), rows);
    json_close_array(&m->w);
    return r;
}

/* ---- grants ---- */
struct granted {
    const char *user, *profile, *group; /* profile or group */
};

/* NULL: it is; else why not. */
static const char *why_not(const struct making *m, const struct json_value *row, struct granted *ret)
{
    const struct json_value *profiles = making_rows(m, "destination_profiles");
    struct span profile_id = making_text(row, "destination_profile_id"), group_id = making_text(row, "group_id");
    struct intratun_named user, found, group;
    char key[KEY_MAX];

    if (!intratun_names_find(m->users, making_text(row, "user_id"), &user))
        return "its user is not there";
    ret->user = user.name;
    if (!profile_id.n) {
        if (!intratun_names_find(m->groups, group_id, &group))
            return "its agent group is not there";
        ret->group = group.name;
        return NULL;
    }
    if (!intratun_names_find(m->profiles, profile_id, &found))
        return "its destination profile is not there";
    if (!has_target(json_at(profiles, found.row)) ||
        !intratun_names_find(m->groups, making_text(json_at(profiles, found.row), "default_group_id"), &group))
        return "its destination profile was left out";
    if (is_another_group(json_at(profiles, found.row), group_id) &&
        !intratun_names_find(m->profiles, via_key(profile_id, group_id, key), &found))
        return "its agent group is not there";
    ret->profile = found.name;
    return NULL;
}

static int put_grant(struct making *m, const struct granted *g, struct span key)
{
    char wish[200];
    const char *name;
    int r;

    snprintf(wish, sizeof(wish), "%s-%s", g->user, g->profile ? g->profile : g->group);
    r = intratun_names_add(m->grants, key, span_str(wish), 0, &name);
    if (r)
        return r == -EEXIST ? 0 : r;
    json_open_object(&m->w, NULL);
    json_put_text(&m->w, "name", name);
    json_put_text(&m->w, "user", g->user);
    json_put_text(&m->w, g->profile ? "destination_profile" : "agent_group", g->profile ? g->profile : g->group);
    json_close_object(&m->w);
    return 0;
}

/* Two that say the same are one. */
static int put_row(struct making *m, const struct json_value *row)
{
    struct granted g = { NULL, NULL, NULL };
    const char *why = why_not(m, row, &g);
    char key[KEY_MAX];

    if (why) {
        making_note(m, "access grant " SPAN_FMT ": is left out: %s", MAKING_SHOWN(making_text(row, "id")), why);
        return 0;
    }
    snprintf(key, sizeof(key), "%s|%c|%s", g.user, g.profile ? 'p' : 'g', g.profile ? g.profile : g.group);
    return put_grant(m, &g, span_str(key));
}

static int put_grant_of_agent(struct making *m, size_t i)
{
    struct intratun_named user, group;
    char mem[24], key[128];
    struct span login = making_scalar(json_at(m->s->agents, i), "login", mem);

    if (!making_name_of(m->agents, login, i) || !intratun_names_find(m->users, making_agent_key(login, key), &user) ||
        !intratun_names_find(m->groups, span_str(key), &group))
        return 0;
    return put_grant(m, &(struct granted){ user.name, NULL, group.name }, span_str(key));
}

int making_put_grants(struct making *m)
{
    const struct json_value *rows = making_rows(m, "access_grants");
    int r = 0;

    json_open_array(&m->w, "grants");
    for (size_t i = 0; !r && i < json_count(rows); i++)
        r = put_row(m, json_at(rows, i));
    for (size_t i = 0; !r && m->options->agent_logins && i < json_count(m->s->agents); i++)
        r = put_grant_of_agent(m, i);
    json_close_array(&m->w);
    return r;
}

/* ---- DNS overrides ---- */
static int put_override(struct making *m, const struct json_value *row, size_t i)
{
    char mem[256];
    struct span host = lower(making_text(row, "host"), mem), address = making_text(row, "address");
    const char *name;
    int r;

    if (!check_host_name(host) || !has_form(LEAF_ADDRESS, address)) {
        making_note(m, "DNS override " SPAN_FMT ": " SPAN_FMT " is no address, or the name is none", MAKING_SHOWN(host),
                    MAKING_SHOWN(address));
        return 0;
    }
    r = making_name(m, m->overrides, host, host, i, "DNS override", &name);
    if (r || !name)
        return r;
    json_open_object(&m->w, NULL);
    json_put_text(&m->w, "name", name);
    json_put_str(&m->w, "host", host);
    json_open_array(&m->w, "addresses");
    json_put_str(&m->w, NULL, address);
    json_close_array(&m->w);
    json_close_object(&m->w);
    return 0;
}

int making_put_overrides(struct making *m)
{
    int r = 0;

    json_open_array(&m->w, "dns-overrides");
    for (size_t i = 0; !r && i < json_count(m->s->overrides); i++)
        r = put_override(m, json_at(m->s->overrides, i), i);
    json_close_array(&m->w);
    return r;
}
