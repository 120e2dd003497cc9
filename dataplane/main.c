/*
 * adit-relay - the data plane: tunnels in, proxies out, under the control plane's policy.
 */
#include "dataplane/relay.h"
#include "lib/base/hash.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include "lib/state/join.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

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

static void harden(void)
{
    const struct rlimit no_core = { 0, 0 };
    struct rlimit files;
    unsigned char seed[16];

    setrlimit(RLIMIT_CORE, &no_core);           /* a core would hold keys and users' data */
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    random_bytes(seed, sizeof(seed));
    hash_seed(seed);
}

/* Takes --token-file FILE out of the arguments; NULL: standard input. */
static const char *take_token_file(int *argc, char **argv)
{
    const char *path = NULL;
    int kept = 1;

    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--token-file") == 0 && i + 1 < *argc)
            path = argv[++i];
        else
            argv[kept++] = argv[i];
    }
    *argc = kept;
    return path;
}

static int read_token(const char *path, char *dst, size_t size, struct span *ret_token, struct buf *reterr)
{
    AUTO(fd_closep) int fd = path && strcmp(path, "-") != 0 ? open(path, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
    size_t n = 0;
    ssize_t got;

    if (fd < 0) {
        buf_printf(reterr, "cannot read the token from %s: %s", path ? path : "standard input", strerror(errno));
        return -errno;
    }
    while (n < size && (got = read(fd, dst + n, size - n)) > 0)
        n += (size_t)got;
    *ret_token = span_trim(span_first(span_of(dst, n), span_find(span_of(dst, n), '\n')));
    return 0;
}

static int run_join(int argc, char **argv)
{
    struct relay_config config = { 0 };
    AUTO(option_origins_freep) struct option_origins *origins = NULL;
    AUTO(buf_deinit) struct buf why = { 0 };
    const char *path = take_token_file(&argc, argv);
    enum option_action action;
    char text[JOIN_TOKEN_MAX + 2];
    struct span token;
    int r, code = RELAY_CONFIG;

    buf_init_heap(&why, 4096);
    r = option_load(&relay_options, argc, argv, &config, &action, &origins, &why);
    if (!r && action != OPTION_RUN) {
        option_print(&relay_options, &config, origins, action);
        option_free(&relay_options, &config);
        return RELAY_OK;
    }
    if (!r)
        r = read_token(path, text, sizeof(text), &token, &why);
    if (!r) {
        log_init("adit-relay", STDERR_FILENO, LOG_AUTO, LOG_WARNING);
        code = relay_join(&config, token, &why);
        secret_wipe(text, sizeof(text));
    }
    option_free(&relay_options, &config);
    return code == RELAY_OK ? RELAY_OK : say(&why, code);
}

static enum log_format format_of(const char *text)
{
    return strcmp(text, "json") == 0 ? LOG_JSON : strcmp(text, "text") == 0 ? LOG_TEXT : LOG_AUTO;
}

static int run(struct relay_config *config, int argc, char **argv, struct buf *why)
{
    enum log_level level = LOG_INFO;
    int code;

    log_level_parse(span_str(config->log_level), &level);
    log_init("adit-relay", STDERR_FILENO, format_of(config->log_format), level);
    code = relay_run(config, argc, argv, why);
    return why->len ? say(why, code) : code;
}

int main(int argc, char **argv)
{
    struct relay_config config = { 0 };
    AUTO(option_origins_freep) struct option_origins *origins = NULL;
    AUTO(buf_deinit) struct buf why = { 0 };
    enum option_action action;
    int r, code = RELAY_OK;

    harden();
    if (argc > 1 && strcmp(argv[1], "join") == 0)
        return run_join(argc - 1, argv + 1);

    buf_init_heap(&why, 4096);
    r = option_load(&relay_options, argc, argv, &config, &action, &origins, &why);
    if (!r && (action == OPTION_RUN || action == OPTION_CHECK_CONFIG))
        r = relay_check(&config, &why);
    if (r)
        code = say(&why, RELAY_CONFIG);
    else if (action == OPTION_RUN)
        code = run(&config, argc, argv, &why);
    else
        option_print(&relay_options, &config, origins, action);
    option_free(&relay_options, &config);
    return code;
}
