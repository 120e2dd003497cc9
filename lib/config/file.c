#include "lib/config/option_internal.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int refuse_file(const char *path, const char *why, struct buf *reterr)
{
    buf_printf(reterr, "%.200s: %s", path, why);
    return -EINVAL;
}

int option_slurp(const char *path, struct buf *out, struct buf *reterr)
{
    AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    unsigned char chunk[4096];
    ssize_t n = 0;

    if (fd < 0)
        return refuse_file(path, strerrordesc_np(errno), reterr);
    while (!buf_error(out) && (n = read(fd, chunk, sizeof(chunk))) > 0)
        buf_put(out, chunk, (size_t)n);
    explicit_bzero(chunk, sizeof(chunk));
    if (n < 0)
        return refuse_file(path, strerrordesc_np(errno), reterr);
    if (buf_error(out) == -ENOBUFS)
        return refuse_file(path, "is too large", reterr);
    if (out->len && out->data[out->len - 1] == '\n')
        out->len--;
    return buf_error(out);
}

int option_read_file(struct option_origins *o, struct buf *reterr)
{
    struct buf text;
    int r;

    if (!o->config_path)
        return 0;
    buf_init_heap(&text, OPTION_FILE_MAX);
    r = option_slurp(o->config_path, &text, reterr);
    if (!r)
        r = option_read_yaml(o, buf_span(&text), o->config_path, reterr);
    buf_deinit(&text);
    return r;
}
