#include "dataplane/relay.h"
#include "dataplane/crew.h"
#include "dataplane/diagnoser.h"
#include "dataplane/listen.h"
#include "dataplane/reporter.h"
#include "dataplane/usage.h"
#include "lib/base/version.h"
#include "lib/crypto/file.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include "lib/obs/admin.h"
#include "lib/program/check.h"
#include "lib/program/program.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SLOT_CONTROL 0
#define SLOT_WORKERS 1              /* and on: one for each */

static const struct metric_row metric_rows[] = { RELAY_METRICS(METRIC_ROW) };

struct relay {
    struct relay_config *config;
    int argc;
    char **argv;
    struct loop *loop;
    struct member *member;
    struct metrics *metrics;
    struct freshness freshness;
    struct control *control;
    struct events *events;
    struct source *source;
    struct reporter *reporter;
    struct usage *usage;
    struct diagnoser *diagnoser;
    struct tls_ctx *tunnel_tls, *door_tls;
    struct tunnel_self self;
    char name[64];
    unsigned workers;
    struct crew *crew;
    struct admin *admin;
    struct loop_timer stopping;
    bool has_view, is_draining;
    uint64_t state_refused, events_dropped;
    struct worker_receipt receipt;
};

/* --- checking ------------------------------------------------------------------------------------ */

static int check_listens(const struct relay_config *c, struct buf *reterr)
{
    struct program_listen listens[LISTEN_DOORS + 3] = {
        { "tunnel_listen", c->tunnel_listen },
        { "plain_listen", c->plain_listen },
        { "admin_listen", c->admin_listen },
    };

    for (size_t i = 0; i < LISTEN_DOORS; i++)
        listens[i + 3] = (struct program_listen){ listen_rows[i].option, listen_text(c, &listen_rows[i]) };
    return program_check_listens(listens, ARRAY_LEN(listens), reterr);
}

static int check_files(const struct relay_config *c, struct buf *reterr)
{
    int r = program_check_file("door_certificate", c->door_certificate, "a PEM chain", reterr);

    if (!r)
        r = program_check_file("door_key", c->door_key, "its PEM key", reterr);
    if (!r && (c->door_certificate[0] == 0) != (c->door_key[0] == 0)) {
        buf_printf(reterr, "door_certificate and door_key go together");
        r = -EINVAL;
    }
    if (!r && !c->data_dir[0]) {
        buf_printf(reterr, "data_dir: is empty; name a directory for this relay's key");
        r = -EINVAL;
    }
    return r;
}

int relay_check(const struct relay_config *c, struct buf *reterr)
{
    struct door_config door = { .proxy_count = 0 };
    struct tls_proxies tls_proxies;
    struct endpoint at;
    int r = listen_parse("tunnel_listen", c->tunnel_listen, &at, reterr);

    if (!r && c->admin_listen[0])
        r = listen_parse("admin_listen", c->admin_listen, &at, reterr);
    for (size_t i = 0; i < LISTEN_DOORS && !r; i++)
        r = listen_check_door(c, &listen_rows[i], reterr);
    if (!r)
        r = listen_proxies(c, &door, reterr);
    if (!r)
        r = listen_tls_proxies(c, &tls_proxies, &at, reterr);
    if (!r)
        r = program_check_log(c->log_level, c->log_format, reterr);
    if (!r)
        r = check_listens(c, reterr);
    if (!r)
        r = program_check_url("control_internal", c->control_internal, reterr);
    if (!r)
        r = program_check_url("control", c->control, reterr);
    return r ? r : check_files(c, reterr);
}

/* --- the state reaches the workers ------------------------------------------------------------------- */

static void on_view(void *user, struct view *v)
{
    struct relay *relay = user;

    relay->has_view = true;
    quotas_sync(crew_quotas(relay->crew), v->policy,
                &(struct quota_time){ .wall_ms = (int64_t)wall_ms(), .mono_ms = mono_ms() });
    breakers_sync(crew_breakers(relay->crew), v->policy);
    crew_post_view(relay->crew, v);
    if (relay->reporter)
        reporter_state_changed(relay->reporter);
}

static void on_keyset(void *user, struct span text, uint64_t serial)
{
    struct relay *relay = user;

    crew_post_keyset(relay->crew, text, serial);
}

/* --- those who watch ------------------------------------------------------------------------------------ */

static bool is_ready(void *arg, struct buf *ret_why)
{
    const struct relay *relay = arg;
    struct source_status status;

    source_status(relay->source, &status);
    if (relay->is_draining)
        buf_printf(ret_why, "draining\n");
    if (!relay->has_view)
        buf_printf(ret_why, "no verified state yet: %s\n", status.last_error);
    if (status.is_too_old)
        buf_printf(ret_why, "%s (%s): %s\n", reason_text(REASON_RELAY_TOO_OLD),
                   reason_cure(REASON_RELAY_TOO_OLD), status.last_error);
    if (!status.has_keys)
        buf_printf(ret_why, "no key for proxy credentials yet: %s\n", status.last_error);
    if (relay->has_view && freshness_is_stale(&relay->freshness, mono_ms(), 0))
        buf_printf(ret_why, "the state is older than max-staleness\n");
    return ret_why->len == 0;
}

static void write_metrics(void *arg, struct buf *out)
{
    struct relay *relay = arg;
    struct metric_slot *slot = metrics_slot(relay->metrics, SLOT_CONTROL);
    struct source_status status;
    uint64_t dropped = events_dropped(relay->events);
    struct quotas_stats quotas;
    struct breakers_stats breakers;
    struct flaps_stats flaps;
    struct diagnoser_stats diagnoses;

    diagnoser_get_stats(relay->diagnoser, &diagnoses);
    metric_set(slot, M_DIAGNOSES, (int64_t)diagnoses.running);
    metric_set(slot, M_DIAGNOSES_TOTAL, (int64_t)diagnoses.orders);
    metric_set(slot, M_DIAGNOSES_FAILED, (int64_t)diagnoses.failed);
    breakers_get_stats(crew_breakers(relay->crew), &breakers);
    metric_set(slot, M_BREAKERS, (int64_t)breakers.count);
    metric_set(slot, M_BREAKERS_OPEN, (int64_t)breakers.open);
    metric_set(slot, M_BREAKERS_OPENED, (int64_t)breakers.opened);
    metric_set(slot, M_BREAKERS_EVICTED, (int64_t)breakers.evicted);
    flaps_get_stats(crew_flaps(relay->crew), &flaps);
    metric_set(slot, M_FLAPS_KNOWN, (int64_t)flaps.known);
    metric_set(slot, M_FLAPS_FORGOTTEN, (int64_t)flaps.forgotten);
    quotas_get_stats(crew_quotas(relay->crew), &quotas);
    metric_set(slot, M_QUOTAS, (int64_t)quotas.pools);
    metric_set(slot, M_QUOTAS_UNCOUNTED, (int64_t)quotas.over_bound);
    source_status(relay->source, &status);
    metric_set(slot, M_CONFIG_AGE, status.age_ms == UINT64_MAX ? -1 : (int64_t)(status.age_ms / 1000));
    metric_set(slot, M_CONFIG_REVISION, (int64_t)status.position.revision);
    metric_set(slot, M_CONFIG_EPOCH, (int64_t)status.position.epoch);
    metric_set(slot, M_CONFIG_SKIPPED, (int64_t)status.position.skipped);
    metric_set(slot, M_AGENTS, (int64_t)roster_count(crew_roster(relay->crew)));
    metric_set(slot, M_AGENTS_UNPROVED, (int64_t)roster_unproved_count(crew_roster(relay->crew), mono_ms()));
    metric_set(slot, M_AGENTS_GONE, (int64_t)roster_gone_count(crew_roster(relay->crew)));
    metric_set(slot, M_EVENTS_WAITING, (int64_t)events_waiting(relay->events));
    metric_set(slot, M_EVENTS_SPOOLED, (int64_t)events_spooled_bytes(relay->events));
    metric_add(slot, M_STATE_REFUSED, (int64_t)(status.refused - relay->state_refused));
    metric_set(slot, M_REFUSED_OTHERS, (int64_t)events_refused_others(relay->events));
    metric_add(slot, M_EVENTS_DROPPED, (int64_t)(dropped - relay->events_dropped));
    relay->state_refused = status.refused;
    relay->events_dropped = dropped;
    metrics_print(relay->metrics, out);
    metrics_print_process("adit-relay", out);
}

/* --- making it ------------------------------------------------------------------------------------------- */

static int make_tls(struct relay *relay)
{
    const struct tls_config tunnel = {
        .is_server = true,
        .chain = relay->member->chain,
        .key = relay->member->key,
        .verify = TLS_VERIFY_OPTIONAL,      /* a newcomer has none yet */
        .trust = relay->member->trust,
        .kinds = TLS_KIND(CERT_AGENT),
        .expiry = CERT_EXPIRY_MAY_RENEW,
    };

    return tls_ctx_new(&tunnel, &relay->tunnel_tls);
}

static int read_pem(const char *path, struct buf *out, struct buf *reterr)
{
    int r;

    buf_init_heap(out, CERT_PEM_MAX);
    r = file_read(path, CERT_PEM_MAX, out);
    if (r)
        buf_printf(reterr, "cannot read %s: %s", path, strerror(-r));
    return r;
}

static int load_door_pair(struct relay *relay, struct chain **ret_chain, struct key **ret_key, struct buf *reterr)
{
    AUTO(buf_deinit) struct buf chain = { 0 };
    AUTO(buf_deinit) struct buf key = { 0 };
    int r = read_pem(relay->config->door_certificate, &chain, reterr);

    if (!r)
        r = read_pem(relay->config->door_key, &key, reterr);
    if (!r)
        r = chain_parse_pem(buf_span(&chain), ret_chain);
    if (!r)
        r = key_parse_private_pem(buf_span(&key), ret_key);
    secret_wipe(key.data, key.len);
    if (r && reterr->len == 0)
        buf_printf(reterr, "door_certificate and door_key do not hold a PEM chain and its P-256 key");
    return r;
}

/* The TLS doors' certificate is one that browsers know, if there is one; else the relay's. */
static int make_door_tls(struct relay *relay, struct buf *reterr)
{
    AUTO(chain_freep) struct chain *chain = NULL;
    AUTO(key_freep) struct key *key = NULL;
    struct tls_config door = { .is_server = true, .is_public = true, .verify = TLS_VERIFY_NONE };
    bool is_own = relay->config->door_certificate[0] == 0;
    int r = is_own ? 0 : load_door_pair(relay, &chain, &key, reterr);

    if (r)
        return r;
    door.chain = is_own ? relay->member->chain : chain;
    door.key = is_own ? relay->member->key : key;
    return tls_ctx_new(&door, &relay->door_tls);
}

static void on_renewed(void *user)
{
    struct relay *relay = user;

    if (tls_ctx_set_certificate(relay->tunnel_tls, relay->member->chain, relay->member->key) ||
        control_set_certificate(relay->control, relay->member))
        LOG(ERROR, "certificate.not_in_use", S("detail", "the old one is shown until a restart"));
    if (relay->config->door_certificate[0] == 0 &&
        tls_ctx_set_certificate(relay->door_tls, relay->member->chain, relay->member->key))
        LOG(ERROR, "certificate.not_in_use", S("detail", "the doors show the old one until a restart"));
}

static int make_crew(struct relay *relay, struct buf *reterr)
{
    const struct crew_config config = {
        .options = relay->config,
        .tunnel_tls = relay->tunnel_tls,
        .door_tls = relay->door_tls,
        .trust = relay->member->trust,
        .self = &relay->self,
        .control = relay->control,
        .events = relay->events,
        .freshness = &relay->freshness,
        .metrics = relay->metrics,
        .first_slot = SLOT_WORKERS,
        .workers = relay->workers,
    };

    return crew_new(&config, &relay->crew, reterr);
}

static int make_member(struct relay *relay, struct buf *reterr)
{
    int r = member_open(CERT_RELAY, relay->config->data_dir, &relay->member, reterr);

    if (!r)
        r = member_load(relay->member, reterr);
    if (r)
        return r;
    if (gethostname(relay->name, sizeof(relay->name) - 1))
        relay->name[0] = 0;
    relay->self = (struct tunnel_self){
        .id = relay->member->self.id,
        .name = relay->name,
        .software = "adit-relay/" ADIT_VERSION,
        .platform = "linux",
        .zone = relay->config->zone,
        .boot_id = random_ulid(wall_ms()),
        .starts = relay->member->starts,
        .streams_max = relay->config->streams_max,
    };
    return 0;
}

static int make_events(struct relay *relay, struct buf *reterr)
{
    char dir[4096];
    const struct events_config config = {
        .control = relay->control,
        .dir = dir,
        .spool_bytes = (size_t)relay->config->events_spool,
        .boot_id = relay->self.boot_id,
        .refused_max = (unsigned)relay->config->refused_max,
        .refused_ms = (uint64_t)relay->config->refused_ms,
    };
    int r;

    snprintf(dir, sizeof(dir), "%s/events", relay->config->data_dir);
    r = events_new(&config, &relay->events);
    if (r)
        buf_printf(reterr, "cannot keep events in %s: %s", dir, strerror(-r));
    return r;
}

static int make_sync(struct relay *relay, struct buf *reterr)
{
    const struct control_config control = {
        .loop = relay->loop, .url = relay->config->control_internal, .member = relay->member,
    };
    int r;

    relay->workers = crew_size(relay->config);
    r = metrics_new(metric_rows, RELAY_METRIC_COUNT, SLOT_WORKERS + relay->workers, &relay->metrics);
    if (!r)
        r = control_new(&control, &relay->control);
    if (!r)
        r = make_events(relay, reterr);
    if (r && reterr->len == 0)
        buf_printf(reterr, "cannot prepare the line to the control plane %s: %s", control.url, strerror(-r));
    atomic_init(&relay->freshness.max_ms, (uint64_t)relay->config->max_staleness_ms);
    return r;
}

static int make_source(struct relay *relay, struct buf *reterr)
{
    char dir[4096];
    const struct source_config config = {
        .control = relay->control,
        .member = relay->member,
        .freshness = &relay->freshness,
        .dir = dir,
        .on_view = on_view,
        .on_keyset = on_keyset,
        .user = relay,
    };

    snprintf(dir, sizeof(dir), "%s/state", relay->config->data_dir);
    return source_new(&config, &relay->source, reterr);
}

static void on_report_answer(void *user, struct span answer)
{
    struct relay *relay = user;

    usage_hear(relay->usage, answer);
}

static void on_breakers(void *user)
{
    struct relay *relay = user;

    reporter_state_changed(relay->reporter);
}

static int make_usage(struct relay *relay)
{
    const struct usage_config config = {
        .loop = relay->loop,
        .events = relay->events,
        .quotas = crew_quotas(relay->crew),
        .breakers = crew_breakers(relay->crew),
        .on_breakers = on_breakers,
        .user = relay,
        .told_ms = (uint64_t)relay->config->quotas_told_ms,
    };

    return usage_new(&config, &relay->usage);
}

static int make_reporter(struct relay *relay)
{
    const struct reporter_config config = {
        .loop = relay->loop,
        .control = relay->control,
        .source = relay->source,
        .roster = crew_roster(relay->crew),
        .member = relay->member,
        .metrics = relay->metrics,
        .boot_id = relay->self.boot_id,
        .on_renewed = on_renewed,
        .on_answer = on_report_answer,
        .breakers = crew_breakers(relay->crew),
        .user = relay,
    };

    return reporter_new(&config, &relay->reporter);
}

static int make_diagnoser(struct relay *relay)
{
    const struct diagnoser_config config = {
        .loop = relay->loop, .control = relay->control, .roster = crew_roster(relay->crew),
    };

    return diagnoser_new(&config, &relay->diagnoser);
}

static int make_admin(struct relay *relay, struct buf *reterr)
{
    struct admin_config config = { .is_ready = is_ready, .write_metrics = write_metrics, .arg = relay };
    int r;

    if (!relay->config->admin_listen[0])
        return 0;
    r = listen_parse("admin_listen", relay->config->admin_listen, &config.at, reterr);
    return r ? r : admin_open(relay->loop, &config, &relay->admin, reterr);
}

/* --- stopping -------------------------------------------------------------------------------------------- */

#define LAST_WORDS_MS 300           /* for the last events to reach the control plane */

static void on_last_words(void *arg)
{
    struct relay *relay = arg;

    loop_stop(relay->loop);
}

static void on_drained(void *user, const struct worker_receipt *receipt)
{
    struct relay *relay = user;

    relay->receipt = *receipt;
    events_tell_refused(relay->events);
    usage_tell(relay->usage);
    timer_start(relay->loop, &relay->stopping, LAST_WORDS_MS, on_last_words, relay);
}

static void on_stop(void *arg, int signo)
{
    struct relay *relay = arg;

    (void)signo;
    if (relay->is_draining) {
        crew_hurry(relay->crew);
        return;
    }
    relay->is_draining = true;
    LOG(INFO, "relay.draining", N("drain_ms", relay->config->drain_ms),
        N("streams", metrics_value(relay->metrics, M_STREAMS, 0, 0)));
    if (crew_drain(relay->crew, (uint32_t)relay->config->drain_ms, relay->loop, on_drained, relay))
        loop_stop(relay->loop);
}

static void on_reload(void *arg, int signo)
{
    struct relay *relay = arg;
    AUTO(buf_deinit) struct buf report = { 0 };
    AUTO(buf_deinit) struct buf why = { 0 };
    enum log_level level;

    (void)signo;
    buf_init_heap(&report, 65536);
    buf_init_heap(&why, 4096);
    if (option_reload(&relay_options, relay->argc, relay->argv, relay->config, &report, &why)) {
        LOG(ERROR, "config.refused", SP("detail", buf_span(&why)));
        return;
    }
    if (log_level_parse(span_str(relay->config->log_level), &level))
        log_set_level(level);
    LOG(INFO, "config.reloaded", SP("changes", buf_span(&report)));
}

static void relay_deinit(struct relay *relay)
{
    if (relay->diagnoser)
        diagnoser_stop(relay->diagnoser);
    if (relay->crew)
        crew_stop(relay->crew);
    timer_stop(&relay->stopping);
    if (relay->admin)
        admin_free(relay->admin);
    if (relay->reporter)
        reporter_free(relay->reporter);
    if (relay->usage)
        usage_free(relay->usage);
    if (relay->source)
        source_free(relay->source);
    if (relay->crew)
        crew_free(relay->crew);
    if (relay->diagnoser)
        diagnoser_free(relay->diagnoser);
    if (relay->events)
        events_free(relay->events);
    if (relay->control)
        control_free(relay->control);
    if (relay->tunnel_tls)
        tls_ctx_unref(relay->tunnel_tls);
    if (relay->door_tls)
        tls_ctx_unref(relay->door_tls);
    if (relay->member)
        member_free(relay->member);
    if (relay->metrics)
        metrics_free(relay->metrics);
    if (relay->loop)
        loop_free(relay->loop);
}

static int start(struct relay *relay, struct buf *reterr)
{
    int r = make_member(relay, reterr);

    if (!r)
        r = loop_new(&relay->loop);
    if (!r)
        r = make_sync(relay, reterr);
    if (!r)
        r = make_tls(relay);
    if (!r)
        r = make_door_tls(relay, reterr);
    if (!r)
        r = make_crew(relay, reterr);
    if (!r)
        r = make_source(relay, reterr);
    if (!r)
        r = make_usage(relay);
    if (!r)
        r = make_reporter(relay);
    if (!r)
        r = make_diagnoser(relay);
    if (!r)
        r = make_admin(relay, reterr);
    if (!r)
        r = loop_on_signal(relay->loop, SIGTERM, on_stop, relay);
    if (!r)
        r = loop_on_signal(relay->loop, SIGINT, on_stop, relay);
    if (!r)
        r = loop_on_signal(relay->loop, SIGHUP, on_reload, relay);
    return r ? r : crew_start(relay->crew);
}

int relay_run(struct relay_config *config, int argc, char **argv, struct buf *reterr)
{
    AUTO(relay_deinit) struct relay relay = { .config = config, .argc = argc, .argv = argv };
    int r = start(&relay, reterr);

    if (r) {
        if (reterr->len == 0)
            buf_printf(reterr, "cannot start: %s", strerror(-r));
        return RELAY_FAILED;
    }
    LOG(INFO, "relay.started", S("id", relay.self.id.text), S("cluster", relay.member->trust.cluster),
        S("boot_id", relay.self.boot_id.text), N("starts", relay.self.starts), U("workers", relay.workers));
    loop_run(relay.loop);
    diagnoser_stop(relay.diagnoser);
    crew_stop(relay.crew);
    LOG(INFO, "relay.stopped", U("at_start", relay.receipt.at_start), U("finished", relay.receipt.finished),
        U("moved", 0), U("cut", relay.receipt.cut));
    return relay.receipt.cut ? RELAY_FAILED : RELAY_OK;
}
