#include "controlplane/routes/compile_internal.h"
#include "controlplane/routes/zone.h"
#include <errno.h>

/* Records of what is allowed: profiles, grants, overrides, locks, quotas. */
#define YEAR_S (365 * 86400LL)
#define ZONE_YEARS 10                   /* how far the offsets of a grant reach */

int compile_profile(struct compile *c, struct record *record)
{
    struct profile_record *profile = container_of(record, struct profile_record, record);
    size_t hosts = doc_count(c->doc, "hosts"), ports = doc_count(c->doc, "ports");
    int r;

    compile_text(span_str(c->object->name), profile->name, sizeof(profile->name));
    profile->match_resolved = doc_bool(c->doc, "match_resolved");
    profile->allow_special = doc_bool(c->doc, "allow_special");
    profile->agentgroup = doc_id(c->doc, "agent_group");
    profile->max_staleness_s = doc_int(c->doc, "max_staleness_s");
    r = compile_array(c->doc, "hosts", sizeof(*profile->hosts), (void **)&profile->hosts);
    for (size_t i = 0; !r && i < hosts; i++) {
        r = host_pattern_parse(doc_item(c->doc, "hosts", i), &profile->hosts[i]);
        profile->host_count = r ? i : i + 1;
    }
    if (!r)
        r = compile_array(c->doc, "ports", sizeof(*profile->ports), (void **)&profile->ports);
    for (size_t i = 0; !r && i < ports; i++)
        r = port_range_parse(doc_item(c->doc, "ports", i), &profile->ports[i]) ? 0 : -EINVAL;
    profile->port_count = r ? 0 : ports;
    return r;
}

/* "08:30" in minutes. */
static int64_t minutes_of(struct span hour)
{
    uint64_t h = 0, m = 0;

    return span_to_u64(span_first(hour, 2), 24, &h) && span_to_u64(span_skip(hour, 3), 59, &m) ?
        (int64_t)(h * 60 + m) : 0;
}

static int64_t days_of(const struct json_value *window)
{
    static const char *const names[] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };
    int64_t days = 0;

    for (size_t i = 0; i < doc_count(window, "days"); i++) {
        for (size_t d = 0; d < ARRAY_LEN(names); d++) {
            if (span_eq(doc_item(window, "days", i), span_str(names[d])))
                days |= 1 << d;
        }
    }
    return days;
}

static int compile_windows(struct compile *c, struct grant_record *grant)
{
    const struct json_value *windows = json_get(c->doc, "windows");
    int64_t now_s = (int64_t)(store_now_ms(store_of(c->tx)) / 1000);
    size_t count = windows ? json_count(windows) : 0;
    int r;

    if (!count)
        return 0;
    r = compile_array(c->doc, "windows", sizeof(*grant->windows), (void **)&grant->windows);
    if (r)
        return r;
    for (size_t i = 0; i < count; i++) {
        const struct json_value *window = json_at(windows, i);

        grant->windows[i] = (struct grant_window){
            days_of(window),
            minutes_of(doc_text(window, "from")),
            minutes_of(doc_text(window, "to")),
        };
    }
    grant->window_count = count;
    return zone_offsets(doc_text(json_at(windows, 0), "zone"), now_s - YEAR_S,
                        now_s + ZONE_YEARS * YEAR_S, &grant->offsets, &grant->offset_count);
}

int compile_grant(struct compile *c, struct record *record)
{
    struct grant_record *grant = container_of(record, struct grant_record, record);
    struct ulid user = doc_id(c->doc, "user");
    int r;

    grant->subject_kind = user.text[0] ? SUBJECT_USER : SUBJECT_GROUP;
    grant->subject = user.text[0] ? user : doc_id(c->doc, "group");
    grant->profile = doc_id(c->doc, "destination_profile");
    grant->agentgroup = doc_id(c->doc, "agent_group");
    grant->start_ms = doc_time(c->doc, "starts_at");
    grant->end_ms = doc_time(c->doc, "ends_at");
    grant->stream_limit = doc_int(c->doc, "max_streams");
    r = compile_networks(c->doc, "source_networks", &grant->sources, &grant->source_count);
    return r ? r : compile_windows(c, grant);
}

int compile_override(struct compile *c, struct record *record)
{
    struct override_record *override = container_of(record, struct override_record, record);
    struct ulid agent = doc_id(c->doc, "agent"), group = doc_id(c->doc, "agent_group");
    size_t count = doc_count(c->doc, "addresses");
    int r;

    override->scope = agent.text[0]   ? OVERRIDE_AGENT
                      : group.text[0] ? OVERRIDE_AGENTGROUP
                                      : OVERRIDE_ALL;
    override->scope_id = agent.text[0] ? agent : group;
    r = host_pattern_parse(doc_text(c->doc, "host"), &override->host);
    if (!r)
        r = compile_array(c->doc, "addresses", sizeof(*override->addrs), (void **)&override->addrs);
    for (size_t i = 0; !r && i < count; i++)
        r = addr_parse(doc_item(c->doc, "addresses", i), &override->addrs[i]) ? 0 : -EINVAL;
    override->addr_count = override->addrs ? count : 0;
    compile_text(doc_text(c->doc, "unix"), override->unix_path, sizeof(override->unix_path));
    return r;
}

int compile_lock(struct compile *c, struct record *record)
{
    static const struct {
        const char *field;
        enum lock_kind kind;
    } targets[] = {
        { "user", LOCK_USER },
        { "group", LOCK_GROUP },
        { "agent", LOCK_AGENT },
        { "destination_profile", LOCK_PROFILE },
    };
    struct lock_record *lock = container_of(record, struct lock_record, record);

    lock->until_ms = doc_time(c->doc, "ends_at");
    compile_text(doc_text(c->doc, "reason"), lock->reason, sizeof(lock->reason));
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        lock->target = doc_id(c->doc, targets[i].field);
        lock->lock_kind = targets[i].kind;
        if (lock->target.text[0])
            return 0;
    }
    lock->lock_kind = LOCK_ADDRESS;
    return cidr_parse(doc_text(c->doc, "network"), &lock->address) ? 0 : -EINVAL;
}

/* Without a burst so many may come at once as in a second. */
int compile_quota(struct compile *c, struct record *record)
{
    static const struct {
        const char *field;
        enum quota_scope scope;
    } targets[] = { { "user", QUOTA_USER }, { "group", QUOTA_GROUP }, { "agent", QUOTA_AGENT } };
    struct quota_record *quota = container_of(record, struct quota_record, record);
    int64_t now_s = (int64_t)(store_now_ms(store_of(c->tx)) / 1000);
    struct span zone = doc_text(c->doc, "zone");

    quota->streams = doc_int(c->doc, "max_streams");
    quota->streams_per_s = doc_int(c->doc, "streams_per_second");
    quota->burst = doc_int(c->doc, "streams_burst");
    if (!quota->burst)
        quota->burst = quota->streams_per_s;
    quota->bytes_per_s = doc_int(c->doc, "bytes_per_second");
    quota->bytes_per_day = doc_int(c->doc, "bytes_per_day");
    quota->scope = QUOTA_ALL;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        quota->target = doc_id(c->doc, targets[i].field);
        if (!quota->target.text[0])
            continue;
        quota->scope = targets[i].scope;
        break;
    }
    if (!zone.n || span_eq(zone, SPAN("UTC")))
        return 0;                       /* needs no table */
    return zone_offsets(zone, now_s - YEAR_S, now_s + ZONE_YEARS * YEAR_S, &quota->offsets, &quota->offset_count);
}
