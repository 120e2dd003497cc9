/*
 * adit-relay - the data plane: tunnels in, proxies out, under the control plane's policy.
 */
#include "dataplane/relay.h"
#include "lib/crypto/digest.h"
#include "lib/program/program.h"
#include "lib/state/join.h"
#include <stdio.h>
#include <string.h>

#define RELAY_ROW(...) OPTION_ROW_OF(struct relay_config, __VA_ARGS__)
static const struct option_row rows[] = { RELAY_OPTIONS(RELAY_ROW) };
const struct option_table relay_options = {
    .program = "adit-relay",
    .env_prefix = "ADIT_RELAY_",
    .summary = "Takes agents' tunnels in and users' proxy requests out, as the control plane's signed\n"
               "state says.  adit-relay join --token-file FILE makes this machine a relay.",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

static int say(const struct buf *text, int code)
{
    fprintf(stderr, "adit-relay: " SPAN_FMT "\n", SPAN_ARG(buf_span(text)));
    return code;
}

static int join(const struct relay_config *config, const struct program_token *source, struct buf *why)
{
    char text[JOIN_TOKEN_MAX + 2];
    struct span token;
    int code = RELAY_CONFIG;

    if (program_read_token(source, text, sizeof(text), &token, why) == 0)
        code = relay_join(config, token, why);
    secret_wipe(text, sizeof(text));
    return code;
}

int main(int argc, char **argv)
{
    struct relay_config config = { 0 };
    AUTO(option_origins_freep) struct option_origins *origins = NULL;
    AUTO(buf_deinit) struct buf why = { 0 };
    bool is_join = argc > 1 && strcmp(argv[1], "join") == 0;
    struct program_token source = { 0 };
    enum option_action action;
    int r, code = RELAY_OK;

    program_harden();
    buf_init_heap(&why, 4096);
    if (is_join) {
        argc--;
        argv++;
        source = program_take_token(&argc, argv);
    }
    r = option_load(&relay_options, argc, argv, &config, &action, &origins, &why);
    if (!r && (action == OPTION_RUN || action == OPTION_CHECK_CONFIG))
        r = relay_check(&config, &why);
    if (r) {
        code = RELAY_CONFIG;
    } else if (action == OPTION_RUN) {
        program_start_log("adit-relay", config.log_level, config.log_format);
        code = is_join ? join(&config, &source, &why) : relay_run(&config, argc, argv, &why);
    } else {
        option_print(&relay_options, &config, origins, action);
    }
    option_free(&relay_options, &config);
    return why.len ? say(&why, code) : code;
}
