#include "lib/net/listener_owner.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LISTENING 0x0a

/* The kernel's form: 32-bit words of the machine's byte order, as hex. */
static void kernel_text(const struct addr *a, bool is_v6, char dst[33])
{
    char *at = dst;

    for (size_t word = is_v6 ? 0 : 12; word < 16; word += 4)
        at += snprintf(at, 9, "%02X%02X%02X%02X", a->ip[word + 3], a->ip[word + 2], a->ip[word + 1],
                       a->ip[word]);
}

static bool is_any(const char *hex)
{
    return strspn(hex, "0") == strlen(hex);
}

/* The inode of the socket that listens there, from /proc/net/tcp or tcp6; 0: none. */
static unsigned long listening_inode(const char *table, const struct endpoint *at, bool is_v6)
{
    AUTO(freep) char *line = NULL;
    char wanted[33], local[33];
    unsigned long found = 0;
    size_t room = 0;
    FILE *f = fopen(table, "re");

    if (!f)
        return 0;
    kernel_text(&at->addr, is_v6, wanted);
    while (!found && getline(&line, &room, f) > 0) {
        unsigned local_port, state;
        unsigned long inode;

        if (sscanf(line, " %*d: %32[0-9A-F]:%x %*[0-9A-F]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu",
                   local, &local_port, &state, &inode) != 4)
            continue;
        if (state == LISTENING && local_port == at->port
            && (is_any(local) || is_any(wanted) || !strcmp(local, wanted)))
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

static unsigned long inode_of(const struct endpoint *at)
{
    unsigned long inode = listening_inode("/proc/net/tcp", at, false);

    return inode ? inode : listening_inode("/proc/net/tcp6", at, true);
}

bool listener_owner_is_self(const struct endpoint *at)
{
    unsigned long inode = inode_of(at);

    return inode && holds_inode("self", inode);
}

void listener_owner_put(const struct endpoint *at, struct buf *out)
{
    unsigned long inode = inode_of(at);
    bool is_found = false;
    struct dirent *e;
    DIR *proc = inode ? opendir("/proc") : NULL;

    if (!proc)
        return;
    while (!is_found && (e = readdir(proc)))
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && holds_inode(e->d_name, inode)) {
            put_process(e->d_name, out);
            is_found = true;
        }
    closedir(proc);
}
