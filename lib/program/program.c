#include "lib/program/program.h"
#include "lib/base/hash.h"
#include "lib/crypto/random.h"
#include "lib/log/log.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

void program_harden(void)
{
    const struct rlimit no_core = { 0, 0 };
    struct rlimit files;
    unsigned char seed[16];

    setrlimit(RLIMIT_CORE, &no_core);
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    random_bytes(seed, sizeof(seed));
    hash_seed(seed);
}

/* --- log ------------------------------------------------------------------------------------- */

static const char *const format_names[] = { [LOG_AUTO] = "auto", [LOG_TEXT] = "text", [LOG_JSON] = "json" };

static bool format_parse(const char *text, enum log_format *ret_format)
{
    for (size_t i = 0; i < ARRAY_LEN(format_names); i++) {
        if (strcmp(text, format_names[i]) == 0) {
            *ret_format = (enum log_format)i;
            return true;
        }
    }
    return false;
}

int program_check_log(const char *level_text, const char *format_text, struct buf *reterr)
{
    enum log_level level;
    enum log_format format;

    if (!log_level_parse(span_str(level_text), &level))
        buf_printf(reterr, "log_level: \"%s\" is none of error, warning, info, debug", level_text);
    else if (!format_parse(format_text, &format))
        buf_printf(reterr, "log_format: \"%s\" is none of auto, text, json", format_text);
    else
        return 0;
    return -EINVAL;
}

void program_start_log(const char *program, const char *level_text, const char *format_text)
{
    enum log_level level = LOG_INFO;
    enum log_format format = LOG_AUTO;

    (void)log_level_parse(span_str(level_text), &level);
    (void)format_parse(format_text, &format);
    log_init(program, STDERR_FILENO, format, level);
}

/* --- tokens ---------------------------------------------------------------------------------- */

/* Known by its beginning wherever it stands: as a stray word it would be in an error's text. */
static bool is_token(const char *word)
{
    static const char beginning[] = "adit-join-";

    return strncmp(word, beginning, sizeof(beginning) - 1) == 0;
}

struct program_token program_take_token(int *argc, char **argv)
{
    struct program_token source = { .text = NULL };
    int kept = 1;

    for (int i = 1; i < *argc; i++) {
        bool is_word = argv[i][0] != '-' || argv[i][1] == 0;

        if (strcmp(argv[i], "--token-file") == 0 && i + 1 < *argc)
            source = (struct program_token){ .text = argv[++i], .is_file = true };
        else if (strncmp(argv[i], "--token-file=", 13) == 0)
            source = (struct program_token){ .text = argv[i] + 13, .is_file = true };
        else if (is_token(argv[i]) || (is_word && kept == 1))
            source.text = argv[i];
        else
            argv[kept++] = argv[i];
    }
    *argc = kept;
    return source;
}

static int read_fd(int fd, char *dst, size_t dst_size, size_t *ret_n)
{
    size_t n = 0;
    ssize_t got = 1;

    while (n < dst_size && (got = read(fd, dst + n, dst_size - n)) > 0)
        n += (size_t)got;
    if (got < 0)
        return -errno;
    *ret_n = n;
    return n < dst_size ? 0 : -E2BIG;
}

static int read_source(const struct program_token *source, char *dst, size_t dst_size, size_t *ret_n)
{
    AUTO(fd_closep) int fd = -1;

    if (!source->is_file && source->text && strcmp(source->text, "-") != 0) {
        *ret_n = strlen(source->text);
        return span_copy(span_str(source->text), dst, dst_size) ? 0 : -E2BIG;
    }
    fd = source->is_file ? open(source->text, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
    return fd < 0 ? -errno : read_fd(fd, dst, dst_size, ret_n);
}

int program_read_token(const struct program_token *source, char *dst, size_t dst_size,
                       struct span *ret_token, struct buf *reterr)
{
    size_t n = 0;
    int r = read_source(source, dst, dst_size, &n);

    /* What stands in the arguments is seen by others as long as it stands there. */
    if (!source->is_file && source->text)
        explicit_bzero(source->text, strlen(source->text));
    if (!r) {
        struct span text = span_of(dst, n);

        *ret_token = span_trim(span_first(text, span_find(text, '\n')));
        r = ret_token->n ? 0 : -EINVAL;
    }
    if (r == -EINVAL)
        buf_printf(reterr, "join wants a token: as an argument, by --token-file FILE, or on standard input");
    else if (r == -E2BIG)
        buf_printf(reterr, "that is longer than a join token can be; make one with: adit join-token create NAME");
    else if (r)
        buf_printf(reterr, "cannot read the token%s%s: %s", source->is_file ? " from " : "",
                   source->is_file ? source->text : "", strerror(-r));
    return r;
}
