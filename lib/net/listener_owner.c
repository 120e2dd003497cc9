#include "lib/net/listener_owner.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The inode of the socket that listens on `port`, from /proc/net/tcp or tcp6; 0: none. */
static unsigned long listening_inode(const char *table, uint16_t port)
{
    AUTO(freep) char *line = NULL;
    unsigned long found = 0;
    size_t room = 0;
    FILE *f = fopen(table, "re");

    if (!f)
        return 0;
    while (!found && getline(&line, &room, f) > 0) {
        unsigned local_port, state;
        unsigned long inode;

        if (sscanf(line, " %*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu",
                   &local_port, &state, &inode) == 3 && state == 0x0a && local_port == port)
            found = inode;
    }
    fclose(f);
    return found;
}

static bool holds_inode(const char *pid, unsigned long inode)
{
    char path[300], wanted[40], target[64];
    bool is_found = false;
    struct dirent *e;
    DIR *fds;

    snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
    snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
    fds = opendir(path);
    if (!fds)
        return false;
    while (!is_found && (e = readdir(fds))) {
        ssize_t n = readlinkat(dirfd(fds), e->d_name, target, sizeof(target));

        is_found = n > 0 && span_eq(span_of(target, (size_t)n), span_str(wanted));
    }
    closedir(fds);
    return is_found;
}

static void put_process(const char *pid, struct buf *out)
{
    char path[300], name[64];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/proc/%.16s/comm", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : read(fd, name, sizeof(name));
    if (fd >= 0)
        close(fd);
    if (n > 0 && name[n - 1] == '\n')
        n--;
    buf_printf(out, "%s (%.*s)", pid, n > 0 ? (int)n : 0, name);
}

void listener_owner_put(const struct endpoint *at, struct buf *out)
{
    unsigned long inode = listening_inode("/proc/net/tcp", at->port);
    bool is_found = false;
    struct dirent *e;
    DIR *proc;

    if (!inode)
        inode = listening_inode("/proc/net/tcp6", at->port);
    proc = inode ? opendir("/proc") : NULL;
    if (!proc)
        return;
    while (!is_found && (e = readdir(proc)))
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && holds_inode(e->d_name, inode)) {
            put_process(e->d_name, out);
            is_found = true;
        }
    closedir(proc);
}
