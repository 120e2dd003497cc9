#include "controlplane/audit/outside.h"
#include "controlplane/domain/when.h"
#include "lib/base/addr.h"
#include "lib/crypto/file.h"
#include "lib/log/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SAID_AGAIN 10                   /* after a start or a restore */
#define DATAGRAM_MAX 60000
#define SYSLOG_PRIORITY 110             /* facility 13 (log audit), informational: RFC 5424, 6.2.1 */

enum { TO_FILE, TO_SYSLOG, PLACES };

struct outside {
    char file[4096];
    struct sockaddr_storage syslog;
    socklen_t syslog_len;
    char host[256];
    int fd;                             /* of syslog; -1: not open */
    bool is_wanted[PLACES], is_known[PLACES], has_failed[PLACES];
    int64_t sent[PLACES];
    uint64_t waiting[PLACES];
};

/* ---- syslog ---- */

static socklen_t unix_address(const char *path, struct sockaddr_storage *ret_sa)
{
    struct sockaddr_un *sun = (struct sockaddr_un *)ret_sa;

    if (!path[0] || strlen(path) >= sizeof(sun->sun_path))
        return 0;
    sun->sun_family = AF_UNIX;
    memcpy(sun->sun_path, path, strlen(path) + 1);
    return sizeof(*sun);
}

static socklen_t udp_address(struct span text, struct sockaddr_storage *ret_sa)
{
    struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ret_sa;
    struct sockaddr_in *sin = (struct sockaddr_in *)ret_sa;
    char host[64];
    struct span name;
    uint16_t port;

    if (!authority_parse(text, 514, &name, &port) || !span_copy(name, host, sizeof(host)))
        return 0;
    sin->sin_port = htons(port);        /* in the same place of both */
    sin->sin_family = AF_INET;
    if (inet_pton(AF_INET, host, &sin->sin_addr) == 1)
        return sizeof(*sin);
    sin6->sin6_family = AF_INET6;
    return inet_pton(AF_INET6, host, &sin6->sin6_addr) == 1 ? sizeof(*sin6) : 0;
}

static socklen_t syslog_address(const char *text, struct sockaddr_storage *ret_sa)
{
    memset(ret_sa, 0, sizeof(*ret_sa));
    if (strncmp(text, "unix:", 5) == 0)
        return unix_address(text + 5, ret_sa);
    return strncmp(text, "udp:", 4) == 0 ? udp_address(span_str(text + 4), ret_sa) : 0;
}

bool outside_is_syslog(const char *text)
{
    struct sockaddr_storage ignored;

    return syslog_address(text, &ignored) != 0;
}

/* A daemon that was started anew has a socket of its own: each failure opens one anew. */
static int syslog_open(struct outside *o)
{
    if (o->fd >= 0)
        return 0;
    o->fd = socket(o->syslog.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (o->fd < 0)
        return -errno;
    return connect(o->fd, (const struct sockaddr *)&o->syslog, o->syslog_len) ? -errno : 0;
}

static void syslog_close(struct outside *o)
{
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
}

static int say(struct outside *o, const struct store_checkpoint *c)
{
    AUTO(buf_deinit) struct buf text;
    char at[WHEN_TEXT_MAX];
    int r;

    buf_init_heap(&text, DATAGRAM_MAX);
    buf_printf(&text, "<%d>1 %s %s adit-controlplane %d audit-checkpoint - ", SYSLOG_PRIORITY,
               when_format(c->at_ms, at), o->host, (int)getpid());
    checkpoint_line(c->doc, c->signature, &text);
    r = buf_error(&text);
    if (!r)
        r = syslog_open(o);
    if (!r && send(o->fd, text.data, text.len - 1, MSG_NOSIGNAL) < 0)
        r = -errno;
    if (r)
        syslog_close(o);
    return r;
}

/* ---- the file ---- */

static int append(struct outside *o, const struct store_checkpoint *c)
{
    AUTO(buf_deinit) struct buf line;

    buf_init_heap(&line, CHECKPOINT_LINE_MAX);
    checkpoint_line(c->doc, c->signature, &line);
    return buf_error(&line) ? buf_error(&line) : file_append(o->file, buf_span(&line), 0600);
}

/* The last whole line, in `text`; a line that a crash cut in two is taken off the file. */
static int last_line(int fd, char *text, struct span *ret_line)
{
    off_t size = lseek(fd, 0, SEEK_END);
    off_t from = size > CHECKPOINT_LINE_MAX * 2 ? size - CHECKPOINT_LINE_MAX * 2 : 0;
    ssize_t n = size < 0 ? -1 : pread(fd, text, CHECKPOINT_LINE_MAX * 2, from);
    size_t end, begin;

    if (n < 0)
        return -errno;
    for (end = (size_t)n; end && text[end - 1] != '\n'; end--)
        ;
    if (end < (size_t)n && ftruncate(fd, from + (off_t)end))
        return -errno;
    for (begin = end ? end - 1 : 0; begin && text[begin - 1] != '\n'; begin--)
        ;
    *ret_line = end ? span_of(text + begin, end - 1 - begin) : SPAN_NONE;
    return 0;
}

static int is_same(void *ctx, const struct store_checkpoint *c)
{
    return span_eq(c->doc, *(const struct span *)ctx) ? 0 : STORE_E_STALE;
}

/* Where the file ends, if that is a checkpoint of this database: after a restore it may not be. */
static int number_of(struct store_tx *tx, struct span line, int64_t *ret_number)
{
    AUTO(freep) struct checkpoint *c = calloc(1, sizeof(*c));
    struct span doc, signature;
    int r;

    if (!c)
        return -ENOMEM;
    if (!checkpoint_line_cut(line, &doc, &signature) || checkpoint_read(doc, c))
        return line.n ? STORE_E_NOT_FOUND : 0;
    r = store_checkpoint_get(tx, c->number, is_same, &doc);
    if (!r)
        *ret_number = c->number;
    return r;
}

static int file_position(struct outside *o, struct store_tx *tx, int64_t *ret_number)
{
    AUTO(freep) char *text = malloc((size_t)CHECKPOINT_LINE_MAX * 2);
    AUTO(fd_closep) int fd = open(o->file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int64_t again = *ret_number;
    struct span line;
    int r;

    if (!text || fd < 0)
        return text ? -errno : -ENOMEM;
    *ret_number = 0;
    r = last_line(fd, text, &line);
    if (!r)
        r = number_of(tx, line, ret_number);
    if (r > 0)
        *ret_number = again;
    return r > 0 ? 0 : r;
}

/* ---- both ---- */

static const struct {
    const char *name;
    int (*give)(struct outside *o, const struct store_checkpoint *c);
} places[PLACES] = { [TO_FILE] = { "file", append }, [TO_SYSLOG] = { "syslog", say } };

static int find_position(struct outside *o, int place, struct store_tx *tx, int64_t last)
{
    int64_t at = last > SAID_AGAIN ? last - SAID_AGAIN : 0;
    int r = place == TO_FILE ? file_position(o, tx, &at) : 0;

    if (r)
        return r;
    o->sent[place] = at;
    o->is_known[place] = true;
    return 0;
}

struct giving {
    struct outside *o;
    int place;
};

static int give(void *ctx, const struct store_checkpoint *c)
{
    const struct giving *g = ctx;
    int r = places[g->place].give(g->o, c);

    if (!r)
        g->o->sent[g->place] = c->number;
    return r;
}

static int send_to(struct outside *o, int place, struct store *store, int64_t last)
{
    AUTO(store_rollbackp) struct store_tx *tx = NULL;
    int r;

    if (o->is_known[place] && o->sent[place] >= last)
        return 0;
    r = store_begin(store, STORE_READ, &tx);
    if (!r && !o->is_known[place])
        r = find_position(o, place, tx, last);
    return r ? r : store_checkpoints(tx, o->sent[place], OUTSIDE_BATCH, give, &(struct giving){ o, place });
}

/* Once for a trouble, not each minute. */
static void tell(struct outside *o, int place, int r)
{
    if (r && !o->has_failed[place])
        LOG(ERROR, "audit.checkpoint-not-sent", S("to", places[place].name),
            S("detail", r < 0 ? strerrordesc_np(-r) : "the database is busy"));
    if (!r && o->has_failed[place])
        LOG(INFO, "audit.checkpoint-sent-again", S("to", places[place].name));
    o->has_failed[place] = r != 0;
}

int outside_send(struct outside *o, struct store *store, int64_t last)
{
    int r = 0;

    for (int place = 0; place < PLACES; place++) {
        int one = o->is_wanted[place] ? send_to(o, place, store, last) : 0;

        tell(o, place, one);
        o->waiting[place] = o->is_wanted[place] && last > o->sent[place] ? (uint64_t)(last - o->sent[place]) : 0;
        r = one ? one : r;
    }
    return r;
}

uint64_t outside_waiting(const struct outside *o)
{
    return o->waiting[TO_FILE] > o->waiting[TO_SYSLOG] ? o->waiting[TO_FILE] : o->waiting[TO_SYSLOG];
}

int outside_new(const struct outside_options *options, struct outside **ret_outside, struct buf *reterr)
{
    AUTO(outside_freep) struct outside *o = calloc(1, sizeof(*o));

    if (!o)
        return -ENOMEM;
    o->fd = -1;
    o->is_wanted[TO_FILE] = options->file[0];
    o->is_wanted[TO_SYSLOG] = options->syslog[0];
    if (!span_copy(span_str(options->file), o->file, sizeof(o->file))) {
        buf_put_str(reterr, "audit-file: the path is too long");
        return -EINVAL;
    }
    o->syslog_len = syslog_address(options->syslog, &o->syslog);
    if (o->is_wanted[TO_SYSLOG] && !o->syslog_len) {
        buf_printf(reterr, "audit-syslog: %s is neither unix:/path nor udp:address:port", options->syslog);
        return -EINVAL;
    }
    if (gethostname(o->host, sizeof(o->host) - 1) || !o->host[0])
        snprintf(o->host, sizeof(o->host), "-");
    *ret_outside = TAKE(o);
    return 0;
}

void outside_free(struct outside *o)
{
    syslog_close(o);
    free(o);
}
