#include "cli/port.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void dir_closep(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static void file_closep(FILE **file)
{
    if (*file)
        fclose(*file);
}

int port_probe(uint16_t port)
{
    AUTO(fd_closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int on = 1;

    /* REUSEADDR: connections that have ended do not hold the port, listeners do. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1) < 0)
        return -errno;
    return 0;
}

static bool hex_field(struct span s, uint64_t *ret)
{
    uint64_t value = 0;

    if (!s.n || s.n > 16)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        const char *digits = "0123456789ABCDEF", *at = strchr(digits, s.p[i]);

        if (!at || !*at)
            return false;
        value = value << 4 | (uint64_t)(at - digits);
    }
    *ret = value;
    return true;
}

/* The i-th blank-separated field of a line, from 0; empty when there is none. */
static struct span field(struct span line, size_t i)
{
    struct span part;

    while (span_cut(&line, ' ', &part)) {
        if (part.n && i-- == 0)
            return part;
    }
    return SPAN_NONE;
}

bool port_line_listens(struct span line, uint16_t port, uint64_t *ret_inode, uid_t *ret_uid)
{
    enum { LOCAL = 1, STATE = 3, UID = 7, INODE = 9 };
    struct span local = field(line, LOCAL);
    uint64_t number, state, uid, inode;
    size_t colon = span_find(local, ':');

    if (colon == local.n || !hex_field(span_skip(local, colon + 1), &number) || number != port)
        return false;
    if (!hex_field(field(line, STATE), &state) || state != 0x0A)
        return false;
    if (!span_to_u64(field(line, UID), UINT32_MAX, &uid) ||
        !span_to_u64(field(line, INODE), UINT64_MAX, &inode))
        return false;
    *ret_uid = (uid_t)uid;
    *ret_inode = inode;
    return true;
}

static bool find_listener(const char *table, uint16_t port, uint64_t *ret_inode, uid_t *ret_uid)
{
    AUTO(file_closep) FILE *file = fopen(table, "re");
    char line[512];

    while (file && fgets(line, sizeof(line), file)) {
        if (port_line_listens(span_str(line), port, ret_inode, ret_uid))
            return true;
    }
    return false;
}

static bool process_has_socket(pid_t pid, const char *wanted)
{
    char path[64], target[64];
    AUTO(dir_closep) DIR *dir = NULL;
    struct dirent *entry;
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
        if (n < 0)
            continue;
        target[n] = '\0';
        if (strcmp(target, wanted) == 0)
            return true;
    }
    return false;
}

static void read_process_name(pid_t pid, char *dst, size_t size)
{
    char path[64];
    AUTO(file_closep) FILE *file = NULL;

    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    file = fopen(path, "re");
    if (!file || !fgets(dst, (int)size, file))
        dst[0] = '\0';
    dst[strcspn(dst, "\n")] = '\0';
}

static pid_t find_process(uint64_t inode)
{
    AUTO(dir_closep) DIR *proc = opendir("/proc");
    struct dirent *entry;
    char wanted[64];
    uint64_t pid;

    snprintf(wanted, sizeof(wanted), "socket:[%llu]", (unsigned long long)inode);
    while (proc && (entry = readdir(proc))) {
        if (span_to_u64(span_str(entry->d_name), INT32_MAX, &pid) &&
            process_has_socket((pid_t)pid, wanted))
            return (pid_t)pid;
    }
    return 0;
}

bool port_find_owner(uint16_t port, struct port_owner *ret_owner)
{
    struct port_owner owner = { .pid = 0 };
    uint64_t inode = 0;

    owner.is_listening = find_listener("/proc/net/tcp", port, &inode, &owner.uid) ||
                         find_listener("/proc/net/tcp6", port, &inode, &owner.uid);
    if (!owner.is_listening)
        return false;
    owner.pid = find_process(inode);
    if (owner.pid)
        read_process_name(owner.pid, owner.name, sizeof(owner.name));
    *ret_owner = owner;
    return true;
}
