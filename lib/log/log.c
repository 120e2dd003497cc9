#include "lib/log/log.h"
#include "lib/log/render_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM_MAX 32

/* One log for each process.  All but the counters is written by log_init() only. */
static struct {
    char program[PROGRAM_MAX];
    int fd;
    bool is_json;
    bool is_file;               /* which always has room */
    atomic_int level;
    atomic_uint_fast64_t dropped;
} sink = { .fd = STDERR_FILENO, .level = LOG_INFO };

static const char *const level_names[] = {
    [LOG_ERROR] = "error", [LOG_WARNING] = "warning", [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

/* A pipe is opened anew, so that O_NONBLOCK is ours alone and not its other users'. */
static int own_fd(int fd)
{
    char path[32];
    struct stat st;
    int own;

    if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
        return fd;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return own < 0 ? fd : own;
}

void log_init(const char *program, int fd, enum log_format format, enum log_level level)
{
    struct stat st;

    if (!span_copy(span_str(program), sink.program, sizeof(sink.program)))
        span_copy(SPAN("adit"), sink.program, sizeof(sink.program));
    sink.fd = own_fd(fd);
    sink.is_file = fstat(sink.fd, &st) == 0 && S_ISREG(st.st_mode);
    sink.is_json = format == LOG_JSON || (format == LOG_AUTO && !isatty(fd));
    atomic_store_explicit(&sink.level, level, memory_order_relaxed);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&sink.level, level, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&sink.level, memory_order_relaxed);
}

bool log_level_parse(struct span text, enum log_level *ret_level)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (span_eq(text, span_str(level_names[i]))) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&sink.dropped, memory_order_relaxed);
}

/* A slow reader must never stop the program: no room now means the event is lost. */
static bool has_room(int fd)
{
    struct pollfd wanted = { .fd = fd, .events = POLLOUT };

    return poll(&wanted, 1, 0) == 1 && wanted.revents == POLLOUT;
}

static bool write_line(int fd, struct span line)
{
    ssize_t n;

    if (!sink.is_file && !has_room(fd))
        return false;
    do {
        n = write(fd, line.p, line.n);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)line.n;
}

void log_event(enum log_level level, const char *event, const struct log_field *fields, size_t n)
{
    struct log_record record = { sink.program, level_names[level], event, fields, n, 0, 0 };
    char mem[LOG_LINE_MAX];
    struct timespec now;
    struct span line;
    int errno_before = errno;

    clock_gettime(CLOCK_REALTIME, &now);
    record.unix_s = now.tv_sec;
    record.ms = (unsigned)(now.tv_nsec / 1000000);
    line = sink.is_json ? log_render_json(&record, mem) : log_render_text(&record, mem);
    if (!write_line(sink.fd, line))
        atomic_fetch_add_explicit(&sink.dropped, 1, memory_order_relaxed);
    errno = errno_before;
}
