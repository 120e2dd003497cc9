// room: lib/policy
/*
 * The decision, the log-in, a change, the question of a living stream and a PAC script, over worlds
 * of 100 to 100,000 grants (as many users; a tenth of profiles; 100 agents).  Prints; asserts nothing.
 *
 *   policy_bench [largest number of grants]
 */
#include "lib/policy/decide.h"
#include "lib/policy/pac.h"
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { AGENTS = 100, QUESTIONS = 200000, CHANGES = 5000 };
#define NOW_MS INT64_C(1800000000000)

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);     /* neighbours do not count */
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t state = 88172645463325252u;

static unsigned roll(unsigned n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state % n);
}

static struct ulid id_of(char kind, unsigned n)
{
    struct ulid id;

    snprintf(id.text, sizeof(id.text), "%c%025u", kind, n);
    return id;
}

static void *record(enum record_kind kind, char letter, unsigned n)
{
    const struct ulid id = id_of(letter, n);
    struct record *r = record_new(kind, ulid_span(&id));

    if (!r)
        abort();
    return r;
}

static void *one(size_t size)
{
    void *p = calloc(1, size);

    if (!p)
        abort();
    return p;
}

static struct record *user(unsigned n)
{
    struct user_record *u = record(RECORD_USER, 'U', n);

    snprintf(u->name, sizeof(u->name), "user-%u", n);
    u->is_active = true;
    u->groups = one(4 * sizeof(*u->groups));
    for (; u->group_count < 4; u->group_count++)
        u->groups[u->group_count] = id_of('G', roll(1000));
    return &u->record;
}

static struct record *credential(unsigned n)
{
    struct credential_record *c = record(RECORD_CREDENTIAL, 'C', n);

    snprintf(c->hash, sizeof(c->hash), "%064u", n);
    c->user = id_of('U', n);
    return &c->record;
}

/* A third each of exact names, suffixes and networks. */
static struct record *profile(unsigned n)
{
    struct profile_record *p = record(RECORD_PROFILE, 'P', n);
    char host[64];

    if (n % 3 == 0)
        snprintf(host, sizeof(host), "host-%u.example", n);
    else if (n % 3 == 1)
        snprintf(host, sizeof(host), "*.zone-%u.example", n);
    else
        snprintf(host, sizeof(host), "10.%u.%u.0/24", n / 256 % 256, n % 256);
    p->hosts = one(sizeof(*p->hosts));
    if (host_pattern_parse(span_str(host), p->hosts))
        abort();
    p->host_count = 1;
    p->agentgroup = id_of('A', n % AGENTS);
    return &p->record;
}

/* Of user n, on profile n mod profiles. */
static struct record *grant(unsigned n, unsigned profiles)
{
    struct grant_record *g = record(RECORD_GRANT, 'N', n);

    g->subject = id_of('U', n);
    g->profile = id_of('P', n % profiles);
    return &g->record;
}

static struct record *agent(unsigned n)
{
    struct agent_record *a = record(RECORD_AGENT, 'T', n);

    a->is_active = true;
    return &a->record;
}

static struct record *agentgroup(unsigned n)
{
    struct agentgroup_record *g = record(RECORD_AGENTGROUP, 'A', n);

    g->members = one(2 * sizeof(*g->members));
    for (; g->member_count < 2; g->member_count++)
        g->members[g->member_count] = (struct agentgroup_member){
            .agent = id_of('T', (n + (unsigned)g->member_count) % AGENTS), .weight = 1, .is_enabled = true
        };
    return &g->record;
}

static struct policy *build(unsigned grants, unsigned profiles)
{
    size_t n = 0, most = 3 * (size_t)grants + profiles + 2 * AGENTS;
    struct policy_change *changes = calloc(most, sizeof(*changes));
    struct policy *empty = policy_new(), *p = NULL;

    if (!changes || !empty)
        abort();
    for (unsigned i = 0; i < AGENTS; i++) {
        changes[n++].put = agent(i);
        changes[n++].put = agentgroup(i);
    }
    for (unsigned i = 0; i < profiles; i++)
        changes[n++].put = profile(i);
    for (unsigned i = 0; i < grants; i++) {
        changes[n++].put = user(i);
        changes[n++].put = credential(i);
        changes[n++].put = grant(i, profiles);
    }
    if (policy_apply(empty, changes, n, &p))
        abort();
    for (size_t i = 0; i < n; i++)
        record_unref(changes[i].put);
    free(changes);
    policy_unref(empty);
    return p;
}

/* The target of a profile, as somebody asks for it. */
static struct target target_of(unsigned n)
{
    struct target t;
    char host[64];

    if (n % 3 == 0)
        snprintf(host, sizeof(host), "host-%u.example", n);
    else if (n % 3 == 1)
        snprintf(host, sizeof(host), "db.of.zone-%u.example", n);
    else
        snprintf(host, sizeof(host), "10.%u.%u.7", n / 256 % 256, n % 256);
    if (!target_parse(span_str(host), 443, &t))
        abort();
    return t;
}

/* As many as lie in the nearest cache, as the one question of a new connection does. */
enum { BATCH = 32 };
struct asked {
    struct policy_question q[BATCH];
};

static void prepare(struct asked *a, unsigned grants, unsigned profiles, bool allowed)
{
    for (size_t i = 0; i < BATCH; i++) {
        unsigned who = roll(grants), what = allowed ? who % profiles : (who + 1) % profiles;

        a->q[i] = (struct policy_question){ .user = id_of('U', who), .source = addr_v4(192, 0, 2, 1),
                                            .target = target_of(what), .now_ms = NOW_MS,
                                            .random = i };
    }
}

static double time_decide(const struct policy *p, unsigned grants, unsigned profiles, bool allowed)
{
    struct policy_decision d;
    struct asked a;
    size_t right = 0, n = 0;
    double t, all = 0;

    for (; n < QUESTIONS; n += BATCH) {
        prepare(&a, grants, profiles, allowed);
        t = seconds();
        for (size_t i = 0; i < BATCH; i++)
            right += (policy_decide(p, &a.q[i], &d) == REASON_NONE) == allowed;
        all += seconds() - t;
    }
    if (right != n)
        printf("  %zu of %zu answers are not as expected\n", n - right, n);
    return all / (double)n * 1e9;
}

static double time_standing(const struct policy *p, unsigned grants, unsigned profiles)
{
    enum { STREAMS = 1024 };
    struct policy_standing *s = one(STREAMS * sizeof(*s));
    struct policy_decision d;
    struct asked a;
    size_t good = 0;
    double t;

    for (size_t i = 0; i < STREAMS; i++) {
        if (i % BATCH == 0)
            prepare(&a, grants, profiles, true);
        if (policy_decide(p, &a.q[i % BATCH], &d) == REASON_NONE)
            policy_stand(&d, &a.q[i % BATCH], NULL, NULL, &s[i]);
    }
    t = seconds();
    for (size_t i = 0; i < QUESTIONS; i++) {
        int64_t again_ms;

        good += policy_still_allowed(p, &s[i % STREAMS], NOW_MS, &again_ms) == REASON_NONE;
    }
    t = seconds() - t;
    free(s);
    return good == QUESTIONS ? t / QUESTIONS * 1e9 : -1;
}

static double time_authenticate(const struct policy *p, unsigned grants)
{
    const struct addr source = addr_v4(192, 0, 2, 1);
    size_t good = 0;
    double t = seconds();

    for (unsigned i = 0; i < QUESTIONS; i++) {
        const struct user_record *u;
        const struct credential_record *c;
        unsigned who = roll(grants);
        char hash[65], name[64];

        snprintf(hash, sizeof(hash), "%064u", who);
        snprintf(name, sizeof(name), "user-%u", who);
        good += policy_authenticate(p, span_str(hash), span_str(name), &source, NOW_MS, &u, &c) == REASON_NONE;
    }
    t = seconds() - t;
    return good == QUESTIONS ? t / QUESTIONS * 1e9 : -1;
}

static double time_change(const struct policy *p, unsigned grants, unsigned profiles)
{
    double t = seconds();

    for (unsigned i = 0; i < CHANGES; i++) {
        struct policy_change c = { .put = grant(roll(grants), profiles) };
        struct policy *next = NULL;

        c.kind = RECORD_GRANT;
        if (policy_apply(p, &c, 1, &next))
            abort();
        record_unref(c.put);
        policy_unref(next);
    }
    return (seconds() - t) / CHANGES * 1e9;
}

/* What a worker's loop does for one PAC link. */
static double time_pac(const struct policy *p, unsigned grants)
{
    struct buf out;
    double t;

    buf_init_heap(&out, PAC_MAX + 4096);
    t = seconds();
    for (unsigned i = 0; i < CHANGES; i++) {
        const struct ulid who = id_of('U', roll(grants));

        buf_clear(&out);
        if (pac_write(p, &who, SPAN("HTTPS relay.example:8081"), NOW_MS, &out))
            abort();
    }
    t = seconds() - t;
    buf_deinit(&out);
    return t / CHANGES * 1e6;
}

static void measure(unsigned grants)
{
    unsigned profiles = grants / 10;
    size_t before = mallinfo2().uordblks;
    double t = seconds();
    struct policy *p = build(grants, profiles);
    double build_s = seconds() - t;
    size_t bytes = mallinfo2().uordblks - before;

    printf("%7u  %7.0f  %7.0f  %9.0f  %7.0f  %7.0f  %6.1f  %8.2f  %6.1f\n", grants, time_decide(p, grants, profiles, true),
           time_decide(p, grants, profiles, false), time_standing(p, grants, profiles), time_authenticate(p, grants),
           time_change(p, grants, profiles), time_pac(p, grants), build_s, (double)bytes / 1048576);
    policy_unref(p);
}

int main(int argc, char **argv)
{
    uint64_t most = 100000;

    if (argc > 1 && !span_to_u64(span_str(argv[1]), 1000000, &most))
        return 2;
    printf(" grants  allowed  refused  living ns  log-in  change  pac us  build s     MiB\n");
    for (unsigned grants = 100; grants <= most; grants *= 10)
        measure(grants);
    return 0;
}
