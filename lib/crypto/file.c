#include "lib/crypto/file.h"
#include "lib/crypto/random.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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

static int sync_dir_of(const char *path)
{
    AUTO(fd_closep) int fd = -1;
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;

    if (!slash)
        snprintf(dir, sizeof(dir), ".");
    else if (!span_copy(span_of(path, n ? n : 1), dir, sizeof(dir)))
        return -ENAMETOOLONG;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return fsync(fd) < 0 ? -errno : 0;
}

static int write_new(const char *path, struct span bytes, mode_t mode)
{
    AUTO(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    int r;

    if (fd < 0)
        return -errno;
    if (fchmod(fd, mode) < 0)
        return -errno;
    r = write_all(fd, bytes);
    if (r)
        return r;
    return fsync(fd) < 0 ? -errno : 0;
}

int file_write_atomic(const char *path, struct span bytes, mode_t mode)
{
    char beside[PATH_MAX];
    int r;

    r = snprintf(beside, sizeof(beside), "%s.%08x.new", path, (unsigned)random_u64());
    if (r < 0 || (size_t)r >= sizeof(beside))
        return -ENAMETOOLONG;

    r = write_new(beside, bytes, mode);
    if (r == 0 && rename(beside, path) < 0)
        r = -errno;
    if (r) {
        unlink(beside);
        return r;
    }
    return sync_dir_of(path);
}

int file_append(const char *path, struct span bytes, mode_t mode)
{
    AUTO(fd_closep) int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, mode);
    int r;

    if (fd < 0)
        return -errno;
    r = write_all(fd, bytes);
    if (r)
        return r;
    return fdatasync(fd) < 0 ? -errno : 0;
}

int file_read(const char *path, size_t max, struct buf *out)
{
    AUTO(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char chunk[16384];
    size_t total = 0;

    if (fd < 0)
        return -errno;
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof(chunk));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        total += (size_t)n;
        if (total > max)
            return -EFBIG;
        buf_put(out, chunk, (size_t)n);
    }
    explicit_bzero(chunk, sizeof(chunk));       /* keys are read through here, too */
    return buf_error(out);
}

int dir_make(const char *path, mode_t mode)
{
    char part[PATH_MAX];

    if (!span_copy(span_str(path), part, sizeof(part)))
        return -ENAMETOOLONG;
    for (char *at = part + 1; part[0]; at++) {
        char was = *at;

        if (was != '/' && was != '\0')
            continue;
        *at = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return -errno;
        *at = was;
        if (was == '\0')
            break;
    }
    return 0;
}
