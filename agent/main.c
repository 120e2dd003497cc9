/*
 * adit-agent - inside the closed network: dials relays, resolves names, connects to targets.
 */
#include "agent/dial/dial.h"
#include "agent/metrics/agent_metrics.h"
#include "agent/resolve/resolve.h"
#include "agent/uplink/join.h"
#include "agent/uplink/uplink.h"
#include "lib/config/option.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include "lib/net/loop.h"
#include "lib/net/netwatch.h"
#include "lib/net/proxy.h"
#include "lib/obs/admin.h"
#include "lib/program/check.h"
#include "lib/program/program.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define AGENT_OPTIONS(X)                                                                            \
    X(PATH, data_dir, "/var/lib/adit-agent", 0, 0, 0, "where key, certificate and policy are kept") \
    X(STR, name, "", 0, 0, 0, "what logs and status call this agent; empty: the host's name")       \
    X(STR, zone, "", 0, 0, 0, "the zone this agent stands in")                                      \
    X(LIST, relays, "", 0, 0, 0, "host:port of relays to dial; empty: those of the join")           \
    X(STR, proxy, "", 0, 0, OPTION_URL,                                                             \
      "HTTP proxy to dial relays through, http://host:port, or direct; never for loopback")         \
    X(STR, proxy_credentials, "", 0, 0, OPTION_SECRET, "user:password for that proxy")              \
    X(LIST, no_proxy, "", 0, 0, 0, "relays to dial without it: names (and all below), addresses, CIDRs, *; :port") \
    X(PATH, tls_proxy_ca, "", 0, 0, 0,                                                              \
      "CAs (PEM file, or system) of a proxy that ends TLS before the relays; empty: TLS ends at the relay") \
    X(LIST, allow, "*", 0, 0, 0, "what may be reached through here: host, *.suffix, CIDR, unix:/path; :ports") \
    X(LIST, deny, "", 0, 0, 0, "what may never be reached, whatever else allows it")                \
    X(LIST, allow_special, "", 0, 0, 0,                                                             \
      "loopback, link-local, own or metadata addresses (CIDR:port) and sockets (unix:/path) that may be reached") \
    X(LIST, dns_servers, "", 0, 0, 0, "DNS servers (address or address:port); empty: the system's") \
    X(MSEC, dns_fresh_ms, "30s", 1000, 86400000, 0, "an answer of the DNS counts for its TTL, at most so long") \
    X(MSEC, dns_stale_ms, "1h", 0, 604800000, 0, "and so much longer while the DNS does not answer; 0: not")    \
    X(MSEC, dns_negative_ms, "5s", 1000, 3600000, 0, "that a name is not there counts so long")     \
    X(INT, dns_names_max, "4096", 1, 1000000, 0, "names that are kept; the one unused longest goes first")      \
    X(MSEC, dial_ms, "10s", 100, 120000, 0, "time to resolve and connect in")                       \
    X(MSEC, idle_ms, "0", 0, 604800000, 0, "end a stream on which nothing moves for that long; 0: never") \
    X(MSEC, udp_idle_ms, "2m", 0, 604800000, 0, "the same for a stream of datagrams; the relay's udp_idle_ms is shorter") \
    X(INT, diagnoses_max, "4", 1, 64, 0, "diagnoses (adit diagnose) at a time")                   \
    X(MSEC, drain_ms, "30s", 0, 3600000, OPTION_RELOAD, "how long living streams may finish at stop")           \
    X(INT, lanes_max, "4", 1, 16, 0, "links to one relay under load, at most one for each of its workers; 1: one always") \
    X(SIZE, lane_rate, "128M", 4096, 68719476736, 0, "bytes a second on each link that are worth one more")      \
    X(MSEC, lane_rest_ms, "10s", 100, 3600000, 0, "a link more than the load needs goes after that long")       \
    X(INT, streams_max, "20000", 1, 1000000, 0, "streams at a time; beyond: overload")              \
    X(SIZE, memory_limit, "256M", 1048576, 68719476736, 0, "bytes held in all streams")             \
    X(STR, admin_listen, "", 0, 0, 0, "address:port of /healthz, /readyz, /metrics; empty: none")   \
    X(STR, log_level, "info", 0, 0, OPTION_RELOAD, "error, warning, info or debug")                             \
    X(STR, log_format, "auto", 0, 0, 0, "text, json, or auto: text on a terminal")

struct agent_config {
    AGENT_OPTIONS(OPTION_FIELD)
};
#define AGENT_ROW(...) OPTION_ROW_OF(struct agent_config, __VA_ARGS__)
static const struct option_row rows[] = { AGENT_OPTIONS(AGENT_ROW) };
/* The later one counts, as with curl. */
static const struct option_shared shared[] = {
    { "HTTPS_PROXY", "proxy" },
    { "https_proxy", "proxy" },
    { "NO_PROXY", "no_proxy" },
    { "no_proxy", "no_proxy" },
};
static const struct option_table table = {
    .program = "adit-agent",
    .env_prefix = "ADIT_AGENT_",
    .summary = "Makes what this machine can reach available to relays, as far as its own file and\n"
               "the control plane's policy both allow.  adit-agent join TOKEN makes it a member.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
    .shared = shared,
    .shared_count = ARRAY_LEN(shared),
};

#define JOIN_TIMEOUT_MS 20000

enum { EXIT_OK = 0, EXIT_CONFIG = 2, EXIT_FAILED = 1 };

struct agent {
    struct agent_config config;
    int argc;
    char **argv;                    /* read again at a reload */
    struct loop *loop;
    struct member *member;
    struct kept_policy policy;
    struct acl acl;
    struct proxy proxy;             /* host "": none */
    struct resolver *resolver;
    struct resolve *resolve;
    struct dialer *dialer;
    struct uplink *uplink;
    struct netwatch *netwatch;
    struct metrics *metrics;
    struct admin *admin;            /* NULL: nobody watches */
    char host_name[64], boot_id_text[ULID_LEN + 1];
    struct ulid boot_id;
    bool is_draining;
};

static int say(const struct buf *text, int code)
{
    fprintf(stderr, "adit-agent: " SPAN_FMT "\n", SPAN_ARG(buf_span(text)));
    return code;
}

static void agent_deinit(struct agent *a)
{
    if (a->netwatch)
        netwatch_free(a->netwatch);
    if (a->admin)
        admin_free(a->admin);
    if (a->metrics)
        metrics_free(a->metrics);
    if (a->uplink)
        uplink_free(a->uplink);
    if (a->dialer)
        dialer_free(a->dialer);
    if (a->resolve)
        resolve_free(a->resolve);
    if (a->resolver)
        resolver_free(a->resolver);
    if (a->member)
        member_free(a->member);
    if (a->loop)
        loop_free(a->loop);
    acl_deinit(&a->acl);
    proxy_wipe(&a->proxy);
    option_free(&table, &a->config);
}

/* --- configuration --------------------------------------------------------------------------- */

static int add_rules(struct acl *acl, const char *name, const char *list,
                     int (*add)(struct acl *, struct span), struct buf *reterr)
{
    struct span rest = span_str(list), item;

    while (option_list_next(&rest, &item)) {
        int r = add(acl, item);

        if (r) {
            buf_printf(reterr, "%s: \"" SPAN_FMT "\" is not a rule: write host, *.suffix, CIDR or unix:/path, "
                       "then :ports (e.g. *.example:80,443)", name, SPAN_ARG(item));
            return r;
        }
    }
    return 0;
}

static int set_proxy(struct agent *a, struct buf *reterr)
{
    struct span url = span_str(a->config.proxy);
    int r;

    if (!url.n || span_eq(url, SPAN("direct")))
        return 0;
    buf_put_str(reterr, "proxy (or HTTPS_PROXY): ");
    r = proxy_parse(url, &a->proxy, reterr);
    if (!r && a->config.proxy_credentials[0])
        r = proxy_set_credentials(&a->proxy, span_str(a->config.proxy_credentials), reterr);
    if (r)
        return r;
    buf_clear(reterr);
    a->proxy.bypass = a->config.no_proxy;
    return 0;
}

static struct way way_of(const struct agent *a)
{
    return (struct way){
        .proxy = a->proxy.host[0] ? &a->proxy : NULL,
        .tls_proxy_ca = a->config.tls_proxy_ca[0] ? a->config.tls_proxy_ca : NULL,
    };
}

static int check_no_proxy(const struct agent *a, struct buf *reterr)
{
    struct span item;

    if (proxy_bypass_is_valid(span_str(a->config.no_proxy), &item))
        return 0;
    buf_printf(reterr, "no_proxy (or NO_PROXY): \"" SPAN_FMT "\" is not a name, an address, a network like "
               "10.0.0.0/8 or *, with :port or without; --no-proxy counts before the environment's", SPAN_ARG(item));
    return -EINVAL;
}

static int check_relays(const struct agent *a, struct buf *reterr)
{
    struct span rest = span_str(a->config.relays), item;
    char text[JOIN_ADDR_LEN + 1], host[RELAY_HOST_MAX];
    uint16_t port;

    for (size_t n = 0; option_list_next(&rest, &item); n++) {
        if (n < MEMBER_ADDRS_MAX && span_copy(item, text, sizeof(text))
            && relay_address_parse(text, host, &port, reterr) == 0)
            continue;
        buf_clear(reterr);
        buf_printf(reterr, "relays: \"" SPAN_FMT "\" is not host:port of a relay, or the list has more than %d",
                   SPAN_ARG(item), MEMBER_ADDRS_MAX);
        return -EINVAL;
    }
    return 0;
}

static int check_dns_servers(const struct agent *a, struct buf *reterr)
{
    struct span rest = span_str(a->config.dns_servers), item;

    while (option_list_next(&rest, &item)) {
        struct endpoint at;
        struct addr addr;

        if (addr_parse(item, &addr) || (endpoint_parse(item, &at) && at.kind == ENDPOINT_IP && at.port))
            continue;
        buf_printf(reterr, "dns_servers: \"" SPAN_FMT "\" is not an address or address:port (e.g. 10.0.0.53, "
                   "[2001:db8::53]:5353)", SPAN_ARG(item));
        return -EINVAL;
    }
    return 0;
}

static int check_files(const struct agent *a, struct buf *reterr)
{
    const char *ca = a->config.tls_proxy_ca;

    if (!a->config.data_dir[0]) {
        buf_put_str(reterr, "data_dir: is empty; name a directory for this agent's key");
        return -EINVAL;
    }
    return strcmp(ca, "system") == 0 ? 0 : program_check_file("tls_proxy_ca", ca, "the CAs (PEM)", reterr);
}

static int parse_admin(const struct agent *a, struct endpoint *ret_at, struct buf *reterr)
{
    if (!a->config.admin_listen[0] || endpoint_parse(span_str(a->config.admin_listen), ret_at))
        return 0;
    buf_printf(reterr, "admin_listen: \"%s\" is not address:port (e.g. 127.0.0.1:9102)", a->config.admin_listen);
    return -EINVAL;
}

static int check_config(struct agent *a, struct buf *reterr)
{
    struct endpoint at;
    int r = program_check_log(a->config.log_level, a->config.log_format, reterr);

    if (!r)
        r = check_files(a, reterr);
    if (!r)
        r = parse_admin(a, &at, reterr);
    if (!r)
        r = check_relays(a, reterr);
    if (!r)
        r = check_dns_servers(a, reterr);
    if (!r)
        r = add_rules(&a->acl, "allow", a->config.allow, acl_add_allow, reterr);
    if (!r)
        r = add_rules(&a->acl, "deny", a->config.deny, acl_add_deny, reterr);
    if (!r)
        r = add_rules(&a->acl, "allow_special", a->config.allow_special, acl_add_special, reterr);
    if (!r)
        r = set_proxy(a, reterr);
    if (!r)
        r = check_no_proxy(a, reterr);
    return r;
}

/* --- join -------------------------------------------------------------------------------------- */

static int join(struct agent *a, const struct program_token *source, struct buf *why)
{
    char text[JOIN_TOKEN_MAX + 2];
    struct join_token token;
    const struct way way = way_of(a);
    struct span token_text;
    int r = program_read_token(source, text, sizeof(text), &token_text, why);

    if (r)
        return EXIT_CONFIG;
    r = join_token_parse(token_text, &token);
    secret_wipe(text, sizeof(text));
    if (r || token.kind != CERT_AGENT) {
        buf_printf(why, "this is not a join token for an agent; make one with: adit join-token create");
        return EXIT_CONFIG;
    }
    r = member_open(CERT_AGENT, a->config.data_dir, &a->member, why);
    if (!r)
        r = join_run(a->member, &token, &way, JOIN_TIMEOUT_MS, why);
    join_token_wipe(&token);
    if (!r)
        printf("joined cluster %s as agent %s; the identity is in %s\n", a->member->trust.cluster,
               a->member->self.id.text, a->config.data_dir);
    return r ? EXIT_FAILED : EXIT_OK;
}

/* --- running ------------------------------------------------------------------------------------ */

static void on_drained(void *user)
{
    struct agent *a = user;

    loop_stop(a->loop);
}

static void on_stop(void *arg, int signo)
{
    struct agent *a = arg;

    (void)signo;
    if (a->is_draining) {
        uplink_hurry(a->uplink);
        return;
    }
    a->is_draining = true;
    LOG(INFO, "agent.draining", U("streams", uplink_streams(a->uplink)), N("drain_ms", a->config.drain_ms));
    uplink_drain(a->uplink, (uint32_t)a->config.drain_ms);
}

static void on_reload(void *arg, int signo)
{
    struct agent *a = arg;
    AUTO(buf_deinit) struct buf report = { 0 };
    AUTO(buf_deinit) struct buf why = { 0 };
    enum log_level level;

    (void)signo;
    buf_init_heap(&report, 65536);
    buf_init_heap(&why, 4096);
    if (option_reload(&table, a->argc, a->argv, &a->config, &report, &why)) {
        LOG(ERROR, "config.refused", SP("detail", buf_span(&why)));
        return;
    }
    if (log_level_parse(span_str(a->config.log_level), &level))
        log_set_level(level);
    LOG(INFO, "config.reloaded", SP("changes", buf_span(&report)));
}

static const char *name_of(struct agent *a)
{
    if (a->config.name[0])
        return a->config.name;
    if (gethostname(a->host_name, sizeof(a->host_name) - 1))
        return "agent";
    return a->host_name;
}

static void servers_text(const char *list, char *dst, size_t size)
{
    struct span rest = span_str(list), item;
    struct buf b;

    buf_init_fixed(&b, dst, size);
    while (option_list_next(&rest, &item)) {
        buf_put_str(&b, b.len ? "," : "");
        buf_put_span(&b, item);
    }
    buf_text(&b);
}

static int make_dialer(struct agent *a)
{
    char servers[1024];
    struct resolve_config resolve = {
        .names_max = (uint32_t)a->config.dns_names_max,
        .life = {
            .fresh_max_s = (uint32_t)(a->config.dns_fresh_ms / 1000),
            .stale_max_s = (uint32_t)(a->config.dns_stale_ms / 1000),
            .negative_s = (uint32_t)(a->config.dns_negative_ms / 1000),
        },
    };
    struct dialer_config dial = {
        .loop = a->loop,
        .acl = &a->acl,
        .boot_id = span_str(a->boot_id.text),
        .dial_ms = (uint32_t)a->config.dial_ms,
        .idle_ms = (uint32_t)a->config.idle_ms,
        .udp_idle_ms = (uint32_t)a->config.udp_idle_ms,
        .diagnoses_max = (uint32_t)a->config.diagnoses_max,
    };
    int r;

    servers_text(a->config.dns_servers, servers, sizeof(servers));
    if (servers[0])
        resolve.resolver.servers = servers;
    r = resolve_new(a->loop, &resolve, &a->resolve);
    if (!r)
        r = resolver_new(a->loop, &(struct resolver_config){ 0 }, &a->resolver);
    dial.resolve = a->resolve;
    if (!r)
        r = dialer_new(&dial, &a->dialer);
    if (!r)
        dialer_set_reach(a->dialer, kept_policy_load(&a->policy));
    return r;
}

static int make_uplink(struct agent *a, struct buf *reterr)
{
    struct uplink_config config = {
        .loop = a->loop,
        .resolver = a->resolver,
        .member = a->member,
        .way = way_of(a),
        .policy = &a->policy,
        .dialer = a->dialer,
        .boot_id = a->boot_id,
        .name = name_of(a),
        .zone = a->config.zone,
        .memory_limit = (size_t)a->config.memory_limit,
        .streams_max = (uint32_t)a->config.streams_max,
        .lanes_max = (unsigned)a->config.lanes_max,
        .lane_rate = (uint64_t)a->config.lane_rate,
        .lane_rest_ms = (uint64_t)a->config.lane_rest_ms,
        .on_idle = on_drained,
        .user = a,
    };
    struct span rest = span_str(a->config.relays), item;

    /* The joined addresses unless the configuration names its own. */
    while (config.addr_count < MEMBER_ADDRS_MAX && option_list_next(&rest, &item)) {
        if (!span_copy(item, a->member->addrs[config.addr_count++], sizeof(a->member->addrs[0])))
            return -EINVAL;
    }
    if (config.addr_count)
        a->member->addr_count = config.addr_count;
    config.addr_count = a->member->addr_count;
    for (size_t i = 0; i < config.addr_count; i++)
        config.addrs[i] = a->member->addrs[i];
    return uplink_new(&config, &a->uplink, reterr);
}

/* --- another network ------------------------------------------------------------------------------ */

/* In another network names may mean something else, and other servers know them. */
static void on_network_changed(void *arg)
{
    struct agent *a = arg;
    bool is_other = dialer_network_changed(a->dialer);

    if (is_other && resolver_reload(a->resolver))
        LOG(WARNING, "network.dns_not_reloaded", S("detail", "the servers as they were are asked"));
    if (is_other)
        resolve_flush(a->resolve);
    uplink_network_changed(a->uplink, is_other);
}

/* Without it a change is found out by silence. */
static void watch_network(struct agent *a)
{
    int r = netwatch_new(a->loop, on_network_changed, a, &a->netwatch);

    if (r)
        LOG(WARNING, "network.not_watched", E(r));
}

/* --- watching it --------------------------------------------------------------------------------- */

static bool is_ready(void *arg, struct buf *ret_why)
{
    const struct agent *a = arg;

    if (uplink_links_up(a->uplink))
        return true;
    buf_put_str(ret_why, "no link to a relay is up\n");
    return false;
}

static void write_metrics(void *arg, struct buf *out)
{
    const struct agent *a = arg;

    agent_metrics_take(a->metrics, resolve_stats(a->resolve), dialer_stats(a->dialer), a->uplink);
    metrics_print(a->metrics, out);
    metrics_print_process("adit-agent", out);
}

static int make_admin(struct agent *a, struct buf *reterr)
{
    struct admin_config config = { .is_ready = is_ready, .write_metrics = write_metrics, .arg = a };
    int r;

    if (!a->config.admin_listen[0])
        return 0;
    r = parse_admin(a, &config.at, reterr);
    if (!r)
        r = agent_metrics_new(&a->metrics);
    return r ? r : admin_open(a->loop, &config, &a->admin, reterr);
}

static int start(struct agent *a, struct buf *reterr)
{
    int r = member_open(CERT_AGENT, a->config.data_dir, &a->member, reterr);

    if (!r)
        r = member_load(a->member, reterr);
    a->policy.member = a->member;
    if (!r)
        r = loop_new(&a->loop);
    if (r)
        return r;

    a->boot_id = random_ulid(wall_ms());
    r = make_dialer(a);
    if (!r)
        r = make_uplink(a, reterr);
    if (!r)
        r = make_admin(a, reterr);
    if (!r)
        watch_network(a);
    if (!r)
        r = loop_on_signal(a->loop, SIGTERM, on_stop, a);
    if (!r)
        r = loop_on_signal(a->loop, SIGINT, on_stop, a);
    if (!r)
        r = loop_on_signal(a->loop, SIGHUP, on_reload, a);
    if (r && reterr->len == 0)
        buf_printf(reterr, "cannot start: %s", strerror(-r));
    return r;
}

static int run(struct agent *a, struct buf *reterr)
{
    int r = start(a, reterr);

    if (r)
        return EXIT_FAILED;
    LOG(INFO, "agent.started", S("id", a->member->self.id.text), S("cluster", a->member->trust.cluster),
        S("boot_id", a->boot_id.text), N("starts", a->member->starts));
    loop_run(a->loop);
    LOG(INFO, "agent.stopped", U("opened", dialer_stats(a->dialer)->opened),
        U("cut", dialer_stats(a->dialer)->live));
    return dialer_stats(a->dialer)->live ? EXIT_FAILED : EXIT_OK;
}

int main(int argc, char **argv)
{
    AUTO(agent_deinit) struct agent a = { 0 };
    AUTO(option_origins_freep) struct option_origins *origins = NULL;
    AUTO(buf_deinit) struct buf why = { 0 };
    bool is_join = argc > 1 && strcmp(argv[1], "join") == 0;
    struct program_token source = { 0 };
    enum option_action action;
    int r, code;

    program_harden();
    buf_init_heap(&why, 4096);
    if (is_join) {
        argc--;
        argv++;
        source = program_take_token(&argc, argv);
    }
    a.argc = argc;
    a.argv = argv;
    r = option_load(&table, argc, argv, &a.config, &action, &origins, &why);
    if (!r && (action == OPTION_RUN || action == OPTION_CHECK_CONFIG))
        r = check_config(&a, &why);
    if (r)
        return say(&why, EXIT_CONFIG);
    if (action != OPTION_RUN) {
        option_print(&table, &a.config, origins, action);
        return EXIT_OK;
    }
    program_start_log("adit-agent", a.config.log_level, a.config.log_format);
    code = is_join ? join(&a, &source, &why) : run(&a, &why);
    return why.len ? say(&why, code) : code;
}
