/*
 * adit-agent - inside the closed network: dials relays, resolves names, connects to targets.
 */
#include "agent/dial/dial.h"
#include "agent/resolve/resolve.h"
#include "agent/uplink/join.h"
#include "agent/uplink/uplink.h"
#include "lib/base/hash.h"
#include "lib/config/option.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include "lib/net/loop.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define AGENT_OPTIONS(X)                                                                            \
    X(PATH, data_dir, "/var/lib/adit-agent", 0, 0, 0, "where key, certificate and policy are kept") \
    X(STR, name, "", 0, 0, 0, "what logs and status call this agent; empty: the host's name")       \
    X(STR, zone, "", 0, 0, 0, "the zone this agent stands in")                                      \
    X(LIST, relays, "", 0, 0, 0, "host:port of relays to dial; empty: those of the join")           \
    X(LIST, allow, "*", 0, 0, 0, "what may be reached through here: host, *.suffix, CIDR, unix:/path; :ports") \
    X(LIST, deny, "", 0, 0, 0, "what may never be reached, whatever else allows it")                \
    X(LIST, allow_special, "", 0, 0, 0,                                                             \
      "loopback, link-local, own or metadata addresses (CIDR:port) and sockets (unix:/path) that may be reached") \
    X(LIST, dns_servers, "", 0, 0, 0, "DNS servers (address or address:port); empty: the system's") \
    X(MSEC, dial_ms, "10s", 100, 120000, 0, "time to resolve and connect in")                       \
    X(MSEC, idle_ms, "0", 0, 604800000, 0, "end a stream on which nothing moves for that long; 0: never") \
    X(MSEC, drain_ms, "30s", 0, 3600000, 0, "how long living streams may finish at stop")           \
    X(INT, streams_max, "20000", 1, 1000000, 0, "streams at a time; beyond: overload")              \
    X(SIZE, memory_limit, "256M", 1048576, 68719476736, 0, "bytes held in all streams")             \
    X(STR, log_level, "info", 0, 0, 0, "error, warning, info or debug")                             \
    X(STR, log_format, "auto", 0, 0, 0, "text, json, or auto: text on a terminal")

struct agent_config {
    AGENT_OPTIONS(OPTION_FIELD)
};
#define AGENT_ROW(...) OPTION_ROW_OF(struct agent_config, __VA_ARGS__)
static const struct option_row rows[] = { AGENT_OPTIONS(AGENT_ROW) };
static const struct option_table table = {
    .program = "adit-agent",
    .env_prefix = "ADIT_AGENT_",
    .summary = "Makes what this machine can reach available to relays, as far as its own file and\n"
               "the control plane's policy both allow.  adit-agent join TOKEN makes it a member.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

enum { EXIT_OK = 0, EXIT_CONFIG = 2, EXIT_FAILED = 1 };

struct agent {
    struct agent_config config;
    struct loop *loop;
    struct member *member;
    struct kept_policy policy;
    struct acl acl;
    struct resolver *resolver;
    struct resolve *resolve;
    struct dialer *dialer;
    struct uplink *uplink;
    char host_name[64], boot_id_text[ULID_LEN + 1];
    struct ulid boot_id;
    bool is_draining;
};

static int say(const struct buf *text)
{
    fprintf(stderr, "adit-agent: " SPAN_FMT "\n", SPAN_ARG(buf_span(text)));
    return EXIT_FAILED;
}

static void agent_deinit(struct agent *a)
{
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

static int read_acl(struct agent *a, struct buf *reterr)
{
    int r = add_rules(&a->acl, "allow", a->config.allow, acl_add_allow, reterr);

    if (!r)
        r = add_rules(&a->acl, "deny", a->config.deny, acl_add_deny, reterr);
    if (!r)
        r = add_rules(&a->acl, "allow_special", a->config.allow_special, acl_add_special, reterr);
    return r;
}

static int start_log(const struct agent_config *config, struct buf *reterr)
{
    struct span format = span_str(config->log_format);
    enum log_level level;

    if (!log_level_parse(span_str(config->log_level), &level)) {
        buf_printf(reterr, "log_level: \"%s\" is none of error, warning, info, debug", config->log_level);
        return -EINVAL;
    }
    log_init("adit-agent", STDERR_FILENO,
             span_eq(format, SPAN("json")) ? LOG_JSON : span_eq(format, SPAN("text")) ? LOG_TEXT : LOG_AUTO, level);
    return 0;
}

static void harden(void)
{
    const struct rlimit no_core = { 0, 0 };
    struct rlimit files;
    unsigned char seed[16];

    setrlimit(RLIMIT_CORE, &no_core);           /* a core would hold the key */
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    random_bytes(seed, sizeof(seed));
    hash_seed(seed);
}

/* --- join -------------------------------------------------------------------------------------- */

/* The token: an argument, "-" for standard input, or --token-file.  An argument is seen by
 * others on the machine for a moment, so the guide shows the other two. */
static int read_token(int *argc, char **argv, struct buf *token, struct buf *reterr)
{
    const char *source = NULL;
    bool is_file = false;
    int kept = 1, fd;
    ssize_t n;

    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--token-file") == 0 && i + 1 < *argc)
            source = argv[++i], is_file = true;
        else if (!source && kept == 1 && (argv[i][0] != '-' || argv[i][1] == 0))
            source = argv[i];
        else
            argv[kept++] = argv[i];
    }
    *argc = kept;
    if (!source) {
        buf_printf(reterr, "join wants a token: adit-agent join TOKEN, or --token-file FILE, or - for standard input");
        return -EINVAL;
    }
    if (!is_file && strcmp(source, "-") != 0) {
        buf_put_str(token, source);
        return buf_error(token);
    }

    fd = is_file ? open(source, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (fd < 0) {
        buf_printf(reterr, "cannot read %s: %s", source, strerror(errno));
        return -errno;
    }
    while ((n = read(fd, token->data + token->len, token->cap - token->len)) > 0)
        token->len += (size_t)n;
    if (is_file)
        close(fd);
    return n < 0 ? -errno : 0;
}

static int run_join(int argc, char **argv)
{
    AUTO(agent_deinit) struct agent a = { 0 };
    AUTO(option_origins_freep) struct option_origins *origins = NULL;
    AUTO(buf_deinit) struct buf why = { 0 };
    char text[JOIN_TOKEN_MAX + 2];
    struct buf token_text;
    struct join_token token;
    struct span trimmed;
    enum option_action action;
    int r;

    buf_init_heap(&why, 4096);
    buf_init_fixed(&token_text, text, sizeof(text));
    r = read_token(&argc, argv, &token_text, &why);
    if (!r)
        r = option_load(&table, argc, argv, &a.config, &action, &origins, &why);
    if (!r)
        r = start_log(&a.config, &why);
    if (r)
        return say(&why), EXIT_CONFIG;

    trimmed = span_first(buf_span(&token_text), span_find(buf_span(&token_text), '\n'));
    r = join_token_parse(span_trim(trimmed), &token);
    secret_wipe(text, sizeof(text));
    if (r || token.kind != CERT_AGENT) {
        buf_printf(&why, "this is not a join token for an agent; make one with: adit join-token create");
        return say(&why), EXIT_CONFIG;
    }
    r = member_open(CERT_AGENT, a.config.data_dir, &a.member, &why);
    if (!r)
        r = join_run(a.member, &token, 20000, &why);
    join_token_wipe(&token);
    if (r)
        return say(&why);
    printf("joined cluster %s as agent %s; the identity is in %s\n", a.member->trust.cluster,
           a.member->self.id.text, a.config.data_dir);
    return EXIT_OK;
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
    struct resolve_config resolve = { .resolver = { .servers = NULL } };
    struct dialer_config dial = {
        .loop = a->loop,
        .acl = &a->acl,
        .boot_id = span_str(a->boot_id.text),
        .dial_ms = (uint32_t)a->config.dial_ms,
        .idle_ms = (uint32_t)a->config.idle_ms,
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
        .policy = &a->policy,
        .dialer = a->dialer,
        .boot_id = a->boot_id,
        .name = name_of(a),
        .zone = a->config.zone,
        .memory_limit = (size_t)a->config.memory_limit,
        .streams_max = (uint32_t)a->config.streams_max,
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
        r = loop_on_signal(a->loop, SIGTERM, on_stop, a);
    if (!r)
        r = loop_on_signal(a->loop, SIGINT, on_stop, a);
    if (r && reterr->len == 0)
        buf_printf(reterr, "cannot start: %s", strerror(-r));
    return r;
}

static int run(struct agent *a, struct buf *reterr)
{
    int r = start(a, reterr);

    if (r)
        return say(reterr);
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
    enum option_action action;
    int r;

    harden();
    if (argc > 1 && strcmp(argv[1], "join") == 0)
        return run_join(argc - 1, argv + 1);

    buf_init_heap(&why, 4096);
    r = option_load(&table, argc, argv, &a.config, &action, &origins, &why);
    if (!r && (action == OPTION_RUN || action == OPTION_CHECK_CONFIG))
        r = read_acl(&a, &why);
    if (!r && action == OPTION_RUN)
        r = start_log(&a.config, &why);
    if (r)
        return say(&why), EXIT_CONFIG;
    if (action != OPTION_RUN) {
        option_print(&table, &a.config, origins, action);
        return EXIT_OK;
    }
    return run(&a, &why);
}
