/*
 * adit-controlplane - the REST API, policy, certificates and the signed state.
 */
#include "controlplane/audit/outside.h"
#include "controlplane/audit/verify.h"
#include "controlplane/backup.h"
#include "controlplane/bootstrap.h"
#include "controlplane/domain/right.h"
#include "controlplane/routes/api.h"
#include "controlplane/serve.h"
#include "lib/program/check.h"
#include "lib/program/program.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CONTROLPLANE_ROW(...) OPTION_ROW_OF(struct controlplane_config, __VA_ARGS__)
static const struct option_row rows[] = { CONTROLPLANE_OPTIONS(CONTROLPLANE_ROW) };
const struct option_table controlplane_options = {
    .program = "adit-controlplane",
    .env_prefix = "ADIT_CONTROLPLANE_",
    .summary = "Serves the REST API, keeps policy and audit trail, signs the state that relays run.\n"
               "adit-controlplane bootstrap        makes the first administrator (may be repeated)\n"
               "adit-controlplane migrate [--plan] brings the database up to date, or says what that means\n"
               "adit-controlplane migrate --finalize   ends what was kept for older programs\n"
               "adit-controlplane backup           writes all that is kept, while others serve (--backup-file)\n"
               "adit-controlplane restore          reads it into an empty database of either kind\n"
               "adit-controlplane audit verify     checks the audit trail: chains, checkpoints, --audit-file",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct invocation {
    struct controlplane_config config;
    struct serve_arguments arguments;
    struct buf *why;
};

static int run_serve(struct invocation *in)
{
    AUTO(place_deinit) struct place place = { .lock_fd = -1 };
    int r;

    r = place_open(&in->config, true, &place, in->why);
    if (!r)
        r = place_write_ca(&in->config, &place, in->why);
    return r ? r : serve(&in->config, &in->arguments, &place, in->why);
}

static int run_bootstrap(struct invocation *in)
{
    AUTO(place_deinit) struct place place = { .lock_fd = -1 };
    int r;

    r = place_open(&in->config, false, &place, in->why);
    if (!r)
        r = place_write_ca(&in->config, &place, in->why);
    return r ? r : bootstrap(&in->config, &place, in->why);
}

static int run_migrate(struct invocation *in)
{
    AUTO(place_deinit) struct place place = { .lock_fd = -1 };

    return place_open(&in->config, true, &place, in->why);
}

static int run_finalize(struct invocation *in)
{
    AUTO(place_deinit) struct place place = { .lock_fd = -1 };
    AUTO(buf_deinit) struct buf done;
    int r;

    buf_init_heap(&done, 65536);
    r = place_want_store(&in->config, in->why);
    if (!r)
        r = place_open_store(&in->config, false, &place, in->why);
    if (!r)
        r = store_finalize(place.store, &done, in->why);
    if (!r)
        printf("%s", done.len ? buf_text(&done) : "nothing to do\n");
    return r;
}

static int run_backup(struct invocation *in)
{
    return backup(&in->config, in->why);
}

static int run_restore(struct invocation *in)
{
    return restore(&in->config, in->why);
}

static int run_plan(struct invocation *in)
{
    AUTO(buf_deinit) struct buf plan;
    char path[PATH_MAX];
    struct store_options options = place_store(&in->config, path, sizeof(path));
    int r;

    buf_init_heap(&plan, 65536);
    r = store_plan(&options, &plan, in->why);
    if (!r)
        printf("%s", plan.len ? buf_text(&plan) : "nothing to do\n");
    return r;
}

static void tell_finding(const struct audit_verdict *v, struct buf *out)
{
    if (v->finding == AUDIT_CHAIN)
        buf_printf(out, "the chain of %s is broken at event %llu", v->chains.bad_writer,
                   (unsigned long long)v->chains.bad_seq);
    else
        buf_printf(out, "%s %lld: %s", audit_finding_code(v->finding), (long long)v->bad_number,
                   audit_finding_text(v->finding));
}

static void tell_whole(const struct audit_verdict *v)
{
    printf("%llu events in %llu chains: whole\n", (unsigned long long)v->chains.events,
           (unsigned long long)v->chains.chains);
    printf("%llu checkpoints, %llu of the file outside", (unsigned long long)v->checkpoints,
           (unsigned long long)v->outside);
    if (v->outside_lost)
        printf(" (%llu made before a restore that forgot them)", (unsigned long long)v->outside_lost);
    printf("; %llu older events removed\n", (unsigned long long)v->removed);
}

static int run_audit_verify(struct invocation *in)
{
    AUTO(place_deinit) struct place place = { .lock_fd = -1 };
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    struct audit_verdict verdict = { 0 };
    struct audit_verify_options options = { .file = in->config.audit_file };
    int r;

    r = place_want_store(&in->config, in->why);
    if (!r)
        r = place_open(&in->config, false, &place, in->why);
    if (!r) {
        options.key = keyring_audit_key(place.keys);
        r = store_begin(place.store, STORE_READ, &tx);
    }
    if (!r)
        r = audit_verify(tx, &options, &verdict);
    if (tx)
        store_rollback(TAKE(tx));
    if (r == -EUCLEAN)
        tell_finding(&verdict, in->why);
    else if (!r)
        tell_whole(&verdict);
    return r;
}

/* --- what the option table cannot check ------------------------------------------------------- */

static bool is_listen(const char *text)
{
    struct endpoint at;

    return endpoint_parse(span_str(text), &at) && at.kind == ENDPOINT_IP;
}

static bool is_listen_or_none(const char *text)
{
    return !text[0] || is_listen(text);
}

static bool is_syslog_or_none(const char *text)
{
    return !text[0] || outside_is_syslog(text);
}

static bool is_cluster(const char *text)
{
    return cluster_is_valid(span_str(text));
}

static bool is_store(const char *text)
{
    return !text[0] || store_is_url(text);
}

static bool is_text(const char *text)
{
    return text[0] != '\0';
}

/* A list of SCHEME://host:port/path, the scheme and the path as one likes. */
static bool are_addresses(const char *list, struct span scheme)
{
    struct span rest = span_str(list), item, host;
    uint16_t port;
    size_t n = 0;

    while (option_list_next(&rest, &item)) {
        struct span at = span_starts(item, scheme) ? span_skip(item, scheme.n) : item;

        if (++n > API_JOIN_ADDRS_MAX || !authority_parse(span_first(at, span_find(at, '/')), 443, &host, &port))
            return false;
    }
    return true;
}

static bool are_relays(const char *list)
{
    return list[0] && are_addresses(list, SPAN("wss://"));
}

static bool are_apis(const char *list)
{
    return are_addresses(list, SPAN("https://"));
}

static bool are_hosts(const char *list)
{
    struct span rest = span_str(list), item;
    char canonical[254];
    struct addr addr;

    while (option_list_next(&rest, &item))
        if (!addr_parse(item, &addr) && !host_canonical(item, canonical))
            return false;
    return true;
}

static bool are_roles(const char *list)
{
    struct span rest = span_str(list), item;

    while (option_list_next(&rest, &item))
        if (!role_bit(item))
            return false;
    return true;
}

/* The key file may be missing, then it is made; one that is there is to be read. */
static int check_places(const struct controlplane_config *c, struct buf *reterr)
{
    const struct program_listen listens[] = {
        { "api_listen", c->api_listen },
        { "internal_listen", c->internal_listen },
        { "admin_listen", c->admin_listen },
    };
    int r = program_check_listens(listens, ARRAY_LEN(listens), reterr);

    if (!r && c->key_file[0] && access(c->key_file, F_OK) == 0)
        r = program_check_file("key_file", c->key_file, "64 hex digits", reterr);
    return r ? r : program_check_log(c->log_level, c->log_format, reterr);
}

/* An origin: nothing behind host and port. */
static bool is_origin(const char *text)
{
    struct span rest = span_skip(span_str(text), 8), host;
    uint16_t port;

    return !text[0] || (span_starts(span_str(text), SPAN("https://")) && span_find(rest, '/') == rest.n &&
                        authority_parse(rest, 443, &host, &port));
}

static int check_config(const struct controlplane_config *c, struct buf *reterr)
{
    const struct { const char *name, *text; bool (*is_good)(const char *); const char *wants; } checks[] = {
        { "cluster", c->cluster, is_cluster, "1 to 63 of a-z, 0-9 and -" },
        { "data_dir", c->data_dir, is_text, "a directory" },
        { "store", c->store, is_store, "postgresql://user@host:port/name, or nothing" },
        { "api_listen", c->api_listen, is_listen, "address:port (e.g. 127.0.0.1:8443, [::]:8443)" },
        { "internal_listen", c->internal_listen, is_listen, "address:port (e.g. 127.0.0.1:8444)" },
        { "admin_listen", c->admin_listen, is_listen_or_none, "address:port (e.g. 127.0.0.1:9100)" },
        { "relay_addrs", c->relay_addrs, are_relays, "one to 8 of wss://host:port" },
        { "api_addrs", c->api_addrs, are_apis, "at most 8 of https://host:port" },
        { "audit_syslog", c->audit_syslog, is_syslog_or_none, "unix:/path or udp:address:port" },
        { "public_url", c->public_url, is_origin, "https://host or https://host:port" },
        { "hosts", c->hosts, are_hosts, "names and addresses" },
        { "totp_roles", c->totp_roles, are_roles, "admin, operator, auditor or user" },
    };

    for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
        if (checks[i].is_good(checks[i].text))
            continue;
        buf_printf(reterr, "%s: \"%s\" is not what it takes: %s", checks[i].name, checks[i].text, checks[i].wants);
        return -EINVAL;
    }
    return check_places(c, reterr);
}

/* Words before the options; the longest match wins. */
static const struct {
    const char *words[2];
    int (*run)(struct invocation *in);
    bool is_quiet;                      /* logs warnings only */
} commands[] = {
    { { "bootstrap", NULL }, run_bootstrap, true },
    { { "migrate", "--plan" }, run_plan, true },
    { { "migrate", "--finalize" }, run_finalize, true },
    { { "migrate", NULL }, run_migrate, false },
    { { "audit", "verify" }, run_audit_verify, true },
    { { "backup", NULL }, run_backup, true },
    { { "restore", NULL }, run_restore, true },
    { { NULL, NULL }, run_serve, false },
};

static bool is_asked(size_t i, int argc, char **argv, int *ret_words)
{
    int n = 0;

    for (; n < 2 && commands[i].words[n]; n++)
        if (n + 1 >= argc || strcmp(argv[n + 1], commands[i].words[n]) != 0)
            return false;
    *ret_words = n;
    return true;
}

static int run(struct invocation *in, size_t command)
{
    AUTO(option_origins_freep) struct option_origins *origins = NULL;
    enum option_action action = OPTION_RUN;
    int r;

    r = option_load(&controlplane_options, in->arguments.argc, in->arguments.argv, &in->config, &action,
                    &origins, in->why);
    if (!r && (action == OPTION_RUN || action == OPTION_CHECK_CONFIG))
        r = check_config(&in->config, in->why);
    if (r)
        return CONTROLPLANE_CONFIG;
    if (action != OPTION_RUN) {
        option_print(&controlplane_options, &in->config, origins, action);
        return CONTROLPLANE_OK;
    }
    program_start_log("adit-controlplane",
                      commands[command].is_quiet ? "warning" : in->config.log_level, in->config.log_format);
    return commands[command].run(in) ? CONTROLPLANE_FAILED : CONTROLPLANE_OK;
}

int main(int argc, char **argv)
{
    AUTO(buf_deinit) struct buf why;
    struct invocation in = { .why = &why };
    size_t command = 0;
    int words = 0, code;

    buf_init_heap(&why, 65536);
    program_harden();
    while (!is_asked(command, argc, argv, &words))
        command++;
    in.arguments = (struct serve_arguments){ .argc = argc - words, .argv = argv + words };
    code = run(&in, command);
    option_free(&controlplane_options, &in.config);
    if (code != CONTROLPLANE_OK)
        fprintf(stderr, "adit-controlplane: %s\n", why.len ? buf_text(&why) : "failed");
    return code;
}
