#include "controlplane/routes/zone.h"
#include "lib/base/buf.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define ZONE_FILE_MAX ((size_t)256 << 10)

struct counts {
    uint32_t utc, standard, leap, times, types, chars;
};

struct zone_file {                      /* the 64-bit block of a file */
    struct counts counts;
    struct reader times, types, infos;
};

static int read_header(struct reader *r, struct counts *ret_counts, uint8_t *ret_version)
{
    struct span magic = read_span(r, 4);

    *ret_version = read_u8(r);
    read_span(r, 15);
    ret_counts->utc = read_u32(r);
    ret_counts->standard = read_u32(r);
    ret_counts->leap = read_u32(r);
    ret_counts->times = read_u32(r);
    ret_counts->types = read_u32(r);
    ret_counts->chars = read_u32(r);
    return r->error || !span_eq(magic, SPAN("TZif")) ? -EBADMSG : 0;
}

static size_t body_size(const struct counts *c, size_t time_size)
{
    return (size_t)c->times * (time_size + 1) + (size_t)c->types * 6 + c->chars +
           (size_t)c->leap * (time_size + 4) + c->standard + c->utc;
}

/* Version 2 and later: the 32-bit block first, then a second header and the 64-bit one. */
static int open_file(struct span file, struct zone_file *ret_file)
{
    struct reader r;
    struct counts first;
    uint8_t version;
    int rc;

    reader_init(&r, file);
    rc = read_header(&r, &first, &version);
    if (rc || version < '2')
        return -EBADMSG;
    read_span(&r, body_size(&first, 4));
    rc = read_header(&r, &ret_file->counts, &version);
    if (rc || !ret_file->counts.types)
        return -EBADMSG;
    reader_init(&ret_file->times, read_span(&r, (size_t)ret_file->counts.times * 8));
    reader_init(&ret_file->types, read_span(&r, ret_file->counts.times));
    reader_init(&ret_file->infos, read_span(&r, (size_t)ret_file->counts.types * 6));
    return r.error;
}

static int offset_of(const struct zone_file *f, uint8_t type, int64_t *ret_offset_s)
{
    struct reader infos = f->infos;

    read_span(&infos, (size_t)type * 6);
    *ret_offset_s = (int32_t)read_u32(&infos);
    return infos.error;
}

static int add_offset(struct zone_offset *offsets, size_t *count, int64_t from_s, int64_t offset_s)
{
    if (*count == ZONE_OFFSETS_MAX)
        return -ENOSPC;
    offsets[(*count)++] = (struct zone_offset){ from_s, offset_s };
    return 0;
}

/* `offsets` has ZONE_OFFSETS_MAX places; the first stands for what holds at from_s. */
static int collect(struct zone_file *f, int64_t from_s, int64_t to_s, struct zone_offset *offsets,
                   size_t *ret_count)
{
    size_t count = 0;
    int64_t offset_s;
    int r = offset_of(f, 0, &offset_s);

    if (!r)
        r = add_offset(offsets, &count, from_s, offset_s);
    for (uint32_t i = 0; !r && i < f->counts.times; i++) {
        int64_t at_s = (int64_t)read_u64(&f->times);

        r = offset_of(f, read_u8(&f->types), &offset_s);
        if (r || at_s >= to_s)
            break;
        if (at_s <= from_s)
            offsets[0].offset_s = offset_s;
        else if (offsets[count - 1].offset_s != offset_s)
            r = add_offset(offsets, &count, at_s, offset_s);
    }
    *ret_count = count;
    return r;
}

int zone_offsets_of(struct span file, int64_t from_s, int64_t to_s,
                    struct zone_offset **ret_offsets, size_t *ret_count)
{
    AUTO(freep) struct zone_offset *offsets = calloc(ZONE_OFFSETS_MAX, sizeof(*offsets));
    struct zone_file f;
    int r;

    if (!offsets)
        return -ENOMEM;
    r = open_file(file, &f);
    if (r)
        return r;
    r = collect(&f, from_s, to_s, offsets, ret_count);
    if (r)
        return r;
    *ret_offsets = TAKE(offsets);
    return 0;
}

static int read_file(const char *path, struct buf *out)
{
    AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned char chunk[8192];
    ssize_t n;

    if (fd < 0)
        return -errno;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        buf_put(out, chunk, (size_t)n);
    return n < 0 ? -errno : buf_error(out);
}

int zone_offsets(struct span zone, int64_t from_s, int64_t to_s, struct zone_offset **ret_offsets,
                 size_t *ret_count)
{
    AUTO(buf_deinit) struct buf file;
    const char *dir = getenv("TZDIR");
    char path[512];
    int r, n;

    buf_init_heap(&file, ZONE_FILE_MAX);
    n = snprintf(path, sizeof(path), "%s/" SPAN_FMT, dir ? dir : "/usr/share/zoneinfo",
                 SPAN_ARG(zone));
    if (n < 0 || (size_t)n >= sizeof(path))
        return -ENOENT;
    r = read_file(path, &file);
    if (r)
        return r == -EISDIR ? -ENOENT : r;
    return zone_offsets_of(buf_span(&file), from_s, to_s, ret_offsets, ret_count);
}
