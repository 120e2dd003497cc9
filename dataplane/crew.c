#include "dataplane/crew.h"
#include "dataplane/route/passwords.h"
#include "dataplane/listen.h"
#include "lib/log/log.h"
#include <errno.h>
#include <sched.h>

#define AGENTS_MAX 100000
#define FLAPS_MAX 65536

struct crew_door {                  /* one door, at each worker */
    struct crowd *crowd;            /* NULL: not open */
    struct door *at[ROSTER_WORKERS_MAX];
};

struct crew {
    struct crew_config config;
    struct roster *roster;
    struct tally *tally;
    struct passwords *passwords;
    struct quotas *quotas;
    struct breakers *breakers;
    struct flaps *flaps;
    struct worker *workers[ROSTER_WORKERS_MAX];
    struct crew_door doors[LISTEN_DOORS];
    unsigned draining;              /* workers that are not done yet */
    struct worker_receipt receipt;
    void (*on_drained)(void *user, const struct worker_receipt *receipt);
    void *user;
};

unsigned crew_size(const struct relay_config *options)
{
    int64_t n = options->workers, most = options->memory_limit / CREW_MEMORY_LEAST;
    cpu_set_t cores;

    if (n == 0 && sched_getaffinity(0, sizeof(cores), &cores) == 0)
        n = CPU_COUNT(&cores);
    if (n > most)
        n = most;
    if (n > ROSTER_WORKERS_MAX)
        n = ROSTER_WORKERS_MAX;
    return n > 1 ? (unsigned)n : 1;
}

/* --- making it -------------------------------------------------------------------------------- */

static int make_worker(struct crew *c, unsigned number, const struct endpoint *at, struct buf *reterr)
{
    const struct relay_config *o = c->config.options;
    struct worker_config config = {
        .number = number,
        .tunnel_listen = *at,
        .tunnel_tls = c->config.tunnel_tls,
        .trust = c->config.trust,
        .self = c->config.self,
        .control = c->config.control,
        .events = c->config.events,
        .freshness = c->config.freshness,
        .roster = c->roster,
        .tally = c->tally,
        .passwords = c->passwords,
        .quotas = c->quotas,
        .breakers = c->breakers,
        .flaps = c->flaps,
        .metrics = metrics_slot(c->config.metrics, c->config.first_slot + number),
        .streams_max = (uint32_t)o->streams_max,
        .links_max = (uint32_t)o->links_max,
        .answer_ms = (uint32_t)o->answer_ms,
        .idle_ms = (uint32_t)o->idle_ms,
        .grace_ms = (uint32_t)o->grace_ms,
        .proof = { .probe_every_ms = (uint32_t)o->probe_every_ms, .probe_rest_ms = (uint32_t)o->probe_rest_ms,
                   .use_ms = (uint32_t)o->proof_use_ms },
        .handshakes_per_s = (uint32_t)o->handshakes_per_s,
        .control_away_ms = (uint32_t)o->control_away_ms,
        .renew_wait_ms = (uint32_t)o->renew_wait_ms,
    };

    int r = listen_tls_proxies(o, &config.tls_proxies, &config.plain_listen, reterr);

    return r ? r : worker_new(&config, &c->workers[number], reterr);
}

/* Where the kernel chose a port the others listen on the same. */
static int make_workers(struct crew *c, struct buf *reterr)
{
    struct endpoint at;
    int r = listen_parse("tunnel_listen", c->config.options->tunnel_listen, &at, reterr);

    for (unsigned i = 0; i < c->config.workers && !r; i++) {
        r = make_worker(c, i, &at, reterr);
        if (!r && i == 0)
            at = worker_tunnel_endpoint(c->workers[0]);
    }
    return r;
}

static int make_door(struct crew *c, struct crew_door *door, unsigned number, const struct door_config *config,
                     struct buf *reterr)
{
    struct door_config own = *config;

    own.worker = c->workers[number];
    own.metrics = metrics_slot(c->config.metrics, c->config.first_slot + number);
    if (number && own.at.kind == ENDPOINT_IP)
        own.at = door_endpoint(door->at[0]);
    else if (number)
        own.at = (struct endpoint){ .kind = ENDPOINT_NONE };    /* a Unix socket has one listener */
    return door_open(&own, &door->at[number], reterr);
}

static int make_door_config(const struct crew *c, const struct listen_row *row, struct door_config *config,
                            struct buf *reterr)
{
    const struct relay_config *o = c->config.options;
    int r = listen_parse(row->option, listen_text(o, row), &config->at, reterr);

    config->protocol = row->protocol;
    config->tls = row->is_tls ? c->config.door_tls : NULL;
    config->head_ms = (uint32_t)o->head_ms;
    config->pac_proxies = o->pac_proxies;
    config->udp = (struct udp_limits){
        .targets_max = (uint32_t)o->udp_targets_max,
        .associations_max = (uint32_t)o->udp_associations_max,
        .idle_ms = (uint32_t)o->udp_idle_ms,
        .association_idle_ms = (uint32_t)o->udp_association_idle_ms,
        .reply_ratio = (uint32_t)o->udp_reply_ratio,
    };
    return r ? r : listen_proxies(o, config, reterr);
}

static int make_door_everywhere(struct crew *c, const struct listen_row *row, struct crew_door *door,
                                struct buf *reterr)
{
    const struct relay_config *o = c->config.options;
    AUTO(freep) struct door_config *config = calloc(1, sizeof(*config));
    char at[ADDR_UNIX_MAX + 8];
    struct endpoint endpoint;
    int r;

    if (!config)
        return -ENOMEM;
    r = crowd_new((uint32_t)o->visits_max, (uint32_t)o->visits_per_source_max, &door->crowd);
    if (!r)
        r = make_door_config(c, row, config, reterr);
    config->crowd = door->crowd;
    config->peers = door->at;
    for (unsigned i = 0; i < c->config.workers && !r; i++)
        r = make_door(c, door, i, config, reterr);
    if (r)
        return r;
    endpoint = door_endpoint(door->at[0]);
    LOG(INFO, "door.open", S("door", row->option), S("address", endpoint_format(&endpoint, at, sizeof(at))));
    return 0;
}

static int make_doors(struct crew *c, struct buf *reterr)
{
    int r = 0;

    for (size_t i = 0; i < LISTEN_DOORS && !r; i++) {
        if (listen_text(c->config.options, &listen_rows[i])[0])
            r = make_door_everywhere(c, &listen_rows[i], &c->doors[i], reterr);
    }
    return r;
}

static int make_breakers(struct crew *c)
{
    const struct relay_config *o = c->config.options;
    const struct breakers_config config = {
        .failures = (uint32_t)o->breaker_failures,
        .cool_down_ms = (uint32_t)o->breaker_cool_down_ms,
        .cool_down_max_ms = (uint32_t)(o->breaker_cool_down_max_ms > o->breaker_cool_down_ms ? o->breaker_cool_down_max_ms
                                                                                      : o->breaker_cool_down_ms),
        .breakers_max = (size_t)o->breakers_max,
    };

    return breakers_new(&config, &c->breakers);
}

static int make_flaps(struct crew *c)
{
    const struct relay_config *o = c->config.options;
    const struct flaps_config config = {
        .links = (uint32_t)o->flap_links,
        .faults = (uint32_t)o->flap_faults,
        .back_ms = (uint32_t)o->flap_ms,
        .known_max = FLAPS_MAX,
    };

    return flaps_new(&config, &c->flaps);
}

int crew_new(const struct crew_config *config, struct crew **ret_crew, struct buf *reterr)
{
    AUTO(crew_freep) struct crew *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    c->config = *config;
    r = roster_new(config->workers, AGENTS_MAX, &c->roster);
    if (!r)
        roster_set_proof_rest(c->roster, (uint32_t)config->options->proof_rest_ms);
    if (!r)
        r = tally_new((uint32_t)config->options->streams_max, (size_t)config->options->memory_limit, &c->tally);
    if (!r)
        r = passwords_new(&c->passwords);
    if (!r)
        r = quotas_new((size_t)config->options->quotas_max, &c->quotas);
    if (!r)
        r = make_breakers(c);
    if (!r)
        r = make_flaps(c);
    if (!r)
        r = make_workers(c, reterr);
    if (!r)
        r = make_doors(c, reterr);
    if (r)
        return r;
    *ret_crew = TAKE(c);
    return 0;
}

static void door_free_everywhere(struct crew_door *door)
{
    for (unsigned i = 0; i < ROSTER_WORKERS_MAX; i++) {
        if (door->at[i])
            door_free(door->at[i]);
    }
}

/* Visits are counted until their worker's loop is gone. */
void crew_free(struct crew *c)
{
    for (size_t i = 0; i < LISTEN_DOORS; i++)
        door_free_everywhere(&c->doors[i]);
    for (unsigned i = 0; i < ROSTER_WORKERS_MAX; i++) {
        if (c->workers[i])
            worker_free(c->workers[i]);
    }
    for (size_t i = 0; i < LISTEN_DOORS; i++) {
        if (c->doors[i].crowd)
            crowd_free(c->doors[i].crowd);
    }
    if (c->breakers)
        breakers_free(c->breakers);
    if (c->flaps)
        flaps_free(c->flaps);
    if (c->quotas)
        quotas_free(c->quotas);
    if (c->tally)
        tally_free(c->tally);
    passwords_free(c->passwords);
    if (c->roster)
        roster_free(c->roster);
    free(c);
}

/* --- all of them ------------------------------------------------------------------------------- */

int crew_start(struct crew *c)
{
    int r = 0;

    for (unsigned i = 0; i < c->config.workers && !r; i++)
        r = worker_start(c->workers[i]);
    return r;
}

void crew_stop(struct crew *c)
{
    for (unsigned i = 0; i < c->config.workers; i++)
        worker_stop(c->workers[i]);
}

struct roster *crew_roster(const struct crew *c)
{
    return c->roster;
}

struct flaps *crew_flaps(const struct crew *c)
{
    return c->flaps;
}

struct quotas *crew_quotas(const struct crew *c)
{
    return c->quotas;
}

struct breakers *crew_breakers(const struct crew *c)
{
    return c->breakers;
}

void crew_post_view(struct crew *c, struct view *v)
{
    for (unsigned i = 0; i < c->config.workers; i++)
        worker_post_view(c->workers[i], view_ref(v));
    view_unref(v);
}

void crew_post_keyset(struct crew *c, struct span text, uint64_t serial)
{
    for (unsigned i = 0; i < c->config.workers; i++)
        worker_post_keyset(c->workers[i], text, serial);
}

/* Streams that moved between workers meanwhile are one's at the start and another's at the end:
 * only the sums say what became of them. */
static void on_worker_drained(void *user, const struct worker_receipt *receipt)
{
    struct crew *c = user;

    c->receipt.at_start += receipt->at_start;
    c->receipt.cut += receipt->cut;
    if (--c->draining)
        return;
    c->receipt.finished = c->receipt.at_start > c->receipt.cut ? c->receipt.at_start - c->receipt.cut : 0;
    c->on_drained(c->user, &c->receipt);
}

int crew_drain(struct crew *c, uint32_t drain_ms, struct loop *loop,
               void (*on_drained)(void *user, const struct worker_receipt *receipt), void *user)
{
    int r = 0;

    c->on_drained = on_drained;
    c->user = user;
    c->draining = c->config.workers;
    for (unsigned i = 0; i < c->config.workers && !r; i++)
        r = worker_drain(c->workers[i], drain_ms, loop, on_worker_drained, c);
    return r;
}

void crew_hurry(struct crew *c)
{
    for (unsigned i = 0; i < c->config.workers; i++)
        worker_hurry(c->workers[i]);
}
