#include "cli/up.h"

#include "cli/command.h"
#include "lib/crypto/cert.h"
#include "lib/crypto/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DRAIN_MS_TEXT "3s"

/* What of the place stands in a value. */
enum value {
    VALUE_NONE,
    VALUE_DIR,
    VALUE_TUNNEL_LISTEN,        /* loopback, or every address with --public */
    VALUE_TUNNEL_DIAL,          /* what join tokens tell agents to dial */
    VALUE_PORTS,
#define PLACE_PORT(name, number, what) VALUE_##name = VALUE_PORTS + PORT_##name,
    PLACE_PORTS(PLACE_PORT)
#undef PLACE_PORT
};

struct arg {
    const char *flag;           /* "--data-dir"; a word by itself: "join" */
    const char *before;         /* "https://"; NULL: the flag has no value */
    enum value value;
    const char *after;          /* "/relay" */
    bool only_if_there;         /* the value is a file that may be missing: then neither */
};

struct program_row {
    const char *program;        /* "relay" for adit-relay; "" for adit itself */
    const char *name;
    int stop_rank;
    struct arg args[UP_ARGS_MAX / 2];
};

static const struct program_row rows[UP_PROGRAM_COUNT] = {
    [UP_BOOTSTRAP] = { "controlplane", "bootstrap", 0, {
        { "bootstrap" },
        { "--data-dir", "", VALUE_DIR, "/controlplane" },
        { "--credentials-file", "", VALUE_DIR, "/credentials" },
        { "--ca-file", "", VALUE_DIR, "/ca.pem" },
    } },
    [UP_CONTROLPLANE] = { "controlplane", "control plane", 1, {
        { "--data-dir", "", VALUE_DIR, "/controlplane" },
        { "--api-listen", "", VALUE_API, "" },
        { "--internal-listen", "", VALUE_INTERNAL, "" },
        { "--admin-listen", "", VALUE_CONTROL_ADMIN, "" },
        { "--relay-addrs", "wss://", VALUE_TUNNEL_DIAL, "" },
        { "--drain-ms", "1s", VALUE_NONE, "" },
        { "--config", "", VALUE_DIR, "/controlplane.yaml", true },
    } },
    [UP_RELAY_JOIN] = { "relay", "relay", 0, {
        { "join" },
        { "--token-file", "", VALUE_DIR, "/join-token" },
        { "--data-dir", "", VALUE_DIR, "/relay" },
        { "--control", "https://", VALUE_API, "" },
    } },
    [UP_RELAY] = { "relay", "relay", 0, {
        { "--data-dir", "", VALUE_DIR, "/relay" },
        { "--control-internal", "https://", VALUE_INTERNAL, "" },
        { "--tunnel-listen", "", VALUE_TUNNEL_LISTEN, "" },
        { "--http-listen", "", VALUE_HTTP, "" },
        { "--socks-listen", "", VALUE_SOCKS, "" },
        { "--admin-listen", "", VALUE_RELAY_ADMIN, "" },
        { "--drain-ms", DRAIN_MS_TEXT, VALUE_NONE, "" },
        { "--config", "", VALUE_DIR, "/relay.yaml", true },
    } },
    [UP_AGENT_JOIN] = { "agent", "agent", 0, {
        { "join" },
        { "--token-file", "", VALUE_DIR, "/join-token" },
        { "--data-dir", "", VALUE_DIR, "/agent" },
    } },
    [UP_AGENT] = { "agent", "agent", 0, {
        { "--data-dir", "", VALUE_DIR, "/agent" },
        { "--name", "demo-agent", VALUE_NONE, "" },
        { "--relays", "wss://", VALUE_TUNNEL, "" },
        { "--allow-special", "unix:", VALUE_DIR, "/demo.sock" },
        { "--drain-ms", DRAIN_MS_TEXT, VALUE_NONE, "" },
        { "--config", "", VALUE_DIR, "/agent.yaml", true },
    } },
    [UP_PAGE] = { "", "demo page", 1, {
        { "demo-page" },
        { "--socket", "", VALUE_DIR, "/demo.sock" },
        { "--api", "https://", VALUE_API, "" },
        { "--ca-file", "", VALUE_DIR, "/ca.pem" },
        { "--token-file", "", VALUE_DIR, "/credentials" },
    } },
};

/* What each joiner leaves behind, and how long after its end it can still be renewed. */
static const struct { const char *file; int64_t grace_s; } identities[UP_PROGRAM_COUNT] = {
    [UP_RELAY_JOIN] = { "relay/member.pem", 0 },
    [UP_AGENT_JOIN] = { "agent/member.pem", CERT_RENEW_GRACE_S },
};

static const char *value_text(const struct place *place, enum value value, struct place_text *mem)
{
    if (value == VALUE_NONE)
        return "";
    if (value == VALUE_DIR)
        return place->dir;
    if (value >= VALUE_PORTS || !place->public_host[0]) {
        *mem = place_address(place, value >= VALUE_PORTS ? (enum place_port)(value - VALUE_PORTS)
                                                         : PORT_TUNNEL);
        return mem->text;
    }
    snprintf(mem->text, sizeof(mem->text), "%s:%u",
             value == VALUE_TUNNEL_LISTEN ? "0.0.0.0" : place->public_host,
             place_port(place, PORT_TUNNEL));
    return mem->text;
}

static int append_arg(struct up_programs *p, enum up_program at, size_t *n, const struct arg *arg,
                      const struct place *place)
{
    AUTO(freep) char *value = NULL;
    struct place_text mem;
    char **args = p->args[at];

    if (arg->before && asprintf(&value, "%s%s%s", arg->before, value_text(place, arg->value, &mem),
                                arg->after) < 0) {
        value = NULL;
        return -ENOMEM;
    }
    if (arg->only_if_there && access(value, R_OK) < 0)
        return 0;
    args[*n] = strdup(arg->flag);
    if (!args[(*n)++])
        return -ENOMEM;
    if (value)
        args[(*n)++] = TAKE(value);
    return 0;
}

static int make_program(struct up_programs *p, enum up_program at, const struct place *place)
{
    const struct program_row *row = &rows[at];
    char path[PATH_MAX];
    size_t n = 0;
    int r = command_sibling(row->program, path, sizeof(path));

    if (r)
        return r;
    p->args[at][n++] = strdup(path);
    if (!p->args[at][0])
        return -ENOMEM;
    for (size_t i = 0; i < ARRAY_LEN(row->args) && row->args[i].flag && !r; i++)
        r = append_arg(p, at, &n, &row->args[i], place);
    if (r)
        return r;
    if (asprintf(&p->logs[at], "%s/log/%s.log", place->dir, row->program[0] ? row->program : "page") < 0) {
        p->logs[at] = NULL;
        return -ENOMEM;
    }
    p->specs[at] = (struct child_spec){
        .name = row->name, .argv = p->args[at], .log_path = p->logs[at], .stop_rank = row->stop_rank,
    };
    return 0;
}

int up_programs_init(struct up_programs *p, const struct place *place)
{
    int r = 0;

    for (enum up_program at = 0; at < UP_PROGRAM_COUNT && !r; at++)
        r = make_program(p, at, place);
    return r;
}

void up_programs_deinit(struct up_programs *p)
{
    for (enum up_program at = 0; at < UP_PROGRAM_COUNT; at++) {
        for (size_t i = 0; i < UP_ARGS_MAX; i++)
            free(p->args[at][i]);
        free(p->logs[at]);
    }
}

static bool read_identity(const char *path, struct identity *ret_identity)
{
    AUTO(chain_freep) struct chain *chain = NULL;
    AUTO(buf_deinit) struct buf pem = { 0 };
    bool ok;

    buf_init_heap(&pem, CERT_PEM_MAX);
    ok = file_read(path, CERT_PEM_MAX, &pem) == 0 && chain_parse_pem(buf_span(&pem), &chain) == 0 &&
         chain_identity(chain, ret_identity) == 0;
    explicit_bzero(pem.data, pem.len);
    return ok;
}

bool up_has_identity(const struct place *place, enum up_program joiner)
{
    struct place_text path = place_path(place, identities[joiner].file);
    struct identity identity;

    if (access(path.text, F_OK) != 0)
        return false;
    if (!read_identity(path.text, &identity))
        return true;            /* its program says what is wrong with it */
    return time(NULL) < identity.not_after_s + identities[joiner].grace_s;
}

int up_forget_identity(const struct place *place, enum up_program joiner)
{
    struct place_text path = place_path(place, identities[joiner].file);

    return unlink(path.text) < 0 && errno != ENOENT ? -errno : 0;
}
