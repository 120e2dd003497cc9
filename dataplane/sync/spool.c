#include "dataplane/sync/spool.h"
#include "lib/base/list.h"
#include "lib/crypto/file.h"
#include "lib/json/json.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define SEGMENT_BYTES_MAX ((size_t)1 << 20)
#define SEGMENTS_MIN 4              /* so that the bound drops a part, not all */
#define NAME_LEN 16

struct segment {
    struct list node;
    uint64_t number;
    size_t bytes;                   /* up to the end of the last whole line */
    size_t at;                      /* delivered up to here */
    size_t lines;                   /* behind it */
    bool is_found;                  /* of an earlier run: nobody knows what happened to it */
};

struct spool {
    char *dir;
    size_t bytes_max;
    struct list segments;           /* the oldest first */
    struct segment *tail;           /* takes lines; NULL: the next append makes one */
    int fd;                         /* the tail's */
    uint64_t next;
    size_t bytes, lines;
    uint64_t dropped;
};

static const char *path_of(const struct spool *s, uint64_t number, char dst[PATH_MAX])
{
    snprintf(dst, PATH_MAX, "%s/%0*llx", s->dir, NAME_LEN, (unsigned long long)number);
    return dst;
}

static struct segment *oldest(const struct spool *s)
{
    struct list *first = list_first(&s->segments);

    return first ? container_of(first, struct segment, node) : NULL;
}

static void count(struct spool *s, struct segment *g, size_t bytes, size_t lines)
{
    g->bytes += bytes;
    g->lines += lines;
    s->bytes += bytes;
    s->lines += lines;
}

static void close_tail(struct spool *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    s->tail = NULL;
}

static void segment_free(struct spool *s, struct segment *g)
{
    if (g == s->tail)
        close_tail(s);
    s->bytes -= g->bytes;
    s->lines -= g->lines;
    list_remove(&g->node);
    free(g);
}

static void remove_segment(struct spool *s, struct segment *g)
{
    char path[PATH_MAX];

    unlink(path_of(s, g->number, path));        /* if it stays it is given again */
    segment_free(s, g);
}

static void keep_bound(struct spool *s)
{
    while (s->bytes > s->bytes_max && oldest(s) && oldest(s) != s->tail) {
        s->dropped += oldest(s)->lines;
        remove_segment(s, oldest(s));
    }
}

/* --- what an earlier run left ------------------------------------------------------------------ */

/* What a crash cut is behind the last newline. */
static int scan(struct spool *s, struct segment *g)
{
    AUTO(fd_closep) int fd = -1;
    char chunk[65536], path[PATH_MAX];
    size_t bytes = 0, whole = 0, lines = 0;
    ssize_t n;

    fd = open(path_of(s, g->number, path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (chunk[i] == '\n') {
                whole = bytes + (size_t)i + 1;
                lines++;
            }
        }
        bytes += (size_t)n;
    }
    if (n < 0)
        return -errno;
    count(s, g, whole, lines);
    return 0;
}

static bool parse_name(const char *name, uint64_t *ret_number)
{
    char *end;

    if (strlen(name) != NAME_LEN || strspn(name, "0123456789abcdef") != NAME_LEN)
        return false;
    *ret_number = strtoull(name, &end, 16);
    return *ret_number < UINT64_MAX;
}

static struct segment *segment_new(struct spool *s, uint64_t number)
{
    struct segment *g = calloc(1, sizeof(*g));
    struct list *after = &s->segments;

    if (!g)
        return NULL;
    g->number = number;
    while (after->prev != &s->segments && container_of(after->prev, struct segment, node)->number > number)
        after = after->prev;
    list_append(after, &g->node);   /* before `after` */
    if (number >= s->next)
        s->next = number + 1;
    return g;
}

static int find_segments(struct spool *s, DIR *dir)
{
    const struct dirent *entry;
    uint64_t number;
    int r = 0;

    while (!r && (entry = readdir(dir))) {
        struct segment *g;

        if (!parse_name(entry->d_name, &number))
            continue;
        g = segment_new(s, number);
        if (!g)
            return -ENOMEM;
        g->is_found = true;
        r = scan(s, g);
        if (!r && !g->lines)
            remove_segment(s, g);
    }
    return r;
}

int spool_open(const char *dir, size_t bytes_max, struct spool **ret_spool)
{
    AUTO(spool_freep) struct spool *s = calloc(1, sizeof(*s));
    DIR *entries;
    int r;

    if (!s)
        return -ENOMEM;
    list_init(&s->segments);
    s->fd = -1;
    s->next = 1;
    s->bytes_max = bytes_max;
    s->dir = span_dup(span_str(dir));
    if (!s->dir)
        return -ENOMEM;
    if (strlen(dir) + NAME_LEN + 2 > PATH_MAX)
        return -ENAMETOOLONG;

    r = dir_make(dir, 0700);
    if (r)
        return r;
    entries = opendir(dir);
    if (!entries)
        return -errno;
    r = find_segments(s, entries);
    closedir(entries);
    if (r)
        return r;
    keep_bound(s);
    *ret_spool = TAKE(s);
    return 0;
}

void spool_free(struct spool *s)
{
    LIST_EACH(&s->segments, node)
        segment_free(s, container_of(node, struct segment, node));
    close_tail(s);
    free(s->dir);
    free(s);
}

/* --- in -------------------------------------------------------------------------------------------- */

static size_t segment_max(const struct spool *s)
{
    size_t part = s->bytes_max / SEGMENTS_MIN;

    return part < SEGMENT_BYTES_MAX ? part : SEGMENT_BYTES_MAX;
}

static int open_tail(struct spool *s)
{
    char path[PATH_MAX];

    s->fd = open(path_of(s, s->next, path), O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->fd < 0)
        return -errno;
    s->tail = segment_new(s, s->next);
    if (s->tail)
        return 0;
    unlink(path);
    close_tail(s);
    return -ENOMEM;
}

static int write_all(int fd, struct span bytes)
{
    while (bytes.n > 0) {
        ssize_t n = write(fd, bytes.p, bytes.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        bytes = span_skip(bytes, (size_t)n);
    }
    return 0;
}

int spool_append(struct spool *s, struct span lines, size_t n)
{
    int r = 0;

    if (s->tail && s->tail->bytes && s->tail->bytes + lines.n > segment_max(s))
        close_tail(s);
    if (!s->tail)
        r = open_tail(s);
    if (r)
        return r;

    r = write_all(s->fd, lines);
    if (r) {
        if (ftruncate(s->fd, (off_t)s->tail->bytes))
            close_tail(s);          /* what is behind `bytes` is never read, and nothing comes behind it */
        return r;
    }
    count(s, s->tail, lines.n, n);
    keep_bound(s);
    return 0;
}

int spool_sync(struct spool *s)
{
    return s->fd >= 0 && fdatasync(s->fd) ? -errno : 0;
}

/* --- out ------------------------------------------------------------------------------------------- */

static bool is_object(struct span line)
{
    AUTO(json_value_freep) struct json_value *value = NULL;
    struct json_error error;

    return json_parse(line, &value, &error) == 0 && json_kind_of(value) == JSON_IS_OBJECT;
}

/* Whole lines of `text` into `out`; *mark moves past them, and past those that are nothing. */
static void take_lines(const struct segment *g, struct span text, size_t lines_max, struct buf *out,
                       struct spool_mark *mark)
{
    size_t n;

    while (mark->lines + mark->bad < lines_max && (n = span_find(text, '\n')) < text.n) {
        struct span line = span_first(text, n);

        if (!g->is_found || is_object(line)) {
            buf_put_span(out, span_first(text, n + 1));
            mark->lines++;
        } else {
            mark->bad++;
        }
        text = span_skip(text, n + 1);
        mark->end += n + 1;
    }
}

static void skip(struct spool *s, struct segment *g, const struct spool_mark *mark)
{
    g->at = mark->end;
    g->lines -= mark->lines + mark->bad;
    s->lines -= mark->lines + mark->bad;
    s->dropped += mark->bad;
    if (g->at < g->bytes)
        return;
    if (g != s->tail || ftruncate(s->fd, 0)) {
        remove_segment(s, g);
        return;
    }
    s->bytes -= g->bytes;           /* used again, as long as what comes is delivered at once */
    g->bytes = g->at = 0;
}

static int read_part(const struct spool *s, const struct segment *g, size_t bytes_max, struct buf *ret_text)
{
    AUTO(fd_closep) int fd = -1;
    size_t left = g->bytes - g->at, done = 0;
    char path[PATH_MAX];
    unsigned char *dst;

    left = left < bytes_max ? left : bytes_max;
    buf_init_heap(ret_text, left);
    dst = buf_extend(ret_text, left);
    if (!dst)
        return -ENOMEM;
    fd = open(path_of(s, g->number, path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    while (done < left) {
        ssize_t n = pread(fd, dst + done, left - done, (off_t)(g->at + done));

        if (n <= 0 && !(n < 0 && errno == EINTR))
            return n < 0 ? -errno : -EIO;       /* shorter than it was */
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* A segment that cannot be read any more is in the way of all others: it goes. */
static int read_oldest(struct spool *s, struct segment *g, size_t lines_max, size_t bytes_max, struct buf *out,
                       struct spool_mark *mark)
{
    AUTO(buf_deinit) struct buf text = { 0 };
    int r = read_part(s, g, bytes_max, &text);

    if (r == -ENOMEM)
        return r;
    *mark = (struct spool_mark){ .segment = g->number, .end = g->at };
    if (r) {
        s->dropped += g->lines;
        remove_segment(s, g);
        return 0;
    }
    take_lines(g, buf_span(&text), lines_max, out, mark);
    if (!mark->lines && !mark->bad)
        mark->end = g->at + text.len;           /* one line, and longer than it may be */
    if (!mark->lines)
        skip(s, g, mark);
    return buf_error(out);
}

int spool_read(struct spool *s, size_t lines_max, size_t bytes_max, struct buf *out, struct spool_mark *ret_mark)
{
    struct segment *g;
    int r = 0;

    *ret_mark = (struct spool_mark){ .lines = 0 };
    while (!r && !ret_mark->lines && (g = oldest(s)) && g->at < g->bytes)
        r = read_oldest(s, g, lines_max, bytes_max, out, ret_mark);
    return r;
}

void spool_forget(struct spool *s, const struct spool_mark *mark)
{
    struct segment *g = oldest(s);

    if (g && g->number == mark->segment && mark->end > g->at)
        skip(s, g, mark);
}

size_t spool_lines(const struct spool *s)
{
    return s->lines;
}

size_t spool_bytes(const struct spool *s)
{
    return s->bytes;
}

uint64_t spool_dropped(const struct spool *s)
{
    return s->dropped;
}
