#include "cli/place.h"

#include "cli/port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

static const struct { unsigned number; const char *what; } ports[PORT_COUNT] = {
#define PLACE_PORT(name, number, what) [PORT_##name] = { number, what },
    PLACE_PORTS(PLACE_PORT)
#undef PLACE_PORT
};

int place_open(const char *dir, unsigned port_base, bool make, struct place *ret_place)
{
    struct place p = { .port_base = port_base, .lock_fd = -1 };

    if (make && mkdir(dir, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (!realpath(dir, p.dir))
        return -errno;
    if (make && mkdir(place_path(&p, "log").text, 0700) < 0 && errno != EEXIST)
        return -errno;
    *ret_place = p;
    return 0;
}

void place_close(struct place *p)
{
    if (p->lock_fd >= 0)
        close(p->lock_fd);
    p->lock_fd = -1;
}

struct place_text place_path(const struct place *p, const char *name)
{
    struct place_text path;

    if ((size_t)snprintf(path.text, sizeof(path.text), "%s/%s", p->dir, name) >= sizeof(path.text))
        path.text[0] = '\0';
    return path;
}

unsigned place_port(const struct place *p, enum place_port port)
{
    return ports[port].number + p->port_base;
}

const char *place_port_what(enum place_port port)
{
    return ports[port].what;
}

struct place_text place_address(const struct place *p, enum place_port port)
{
    struct place_text address;

    snprintf(address.text, sizeof(address.text), "127.0.0.1:%u", place_port(p, port));
    return address;
}

/* The lock file holds "PID PORT_BASE\n". */
static void read_holder(int fd, int *ret_pid, unsigned *ret_port_base)
{
    char text[64] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    struct span rest = span_of(text, n > 0 ? (size_t)n : 0), pid, base;
    uint64_t value;

    if (span_cut(&rest, ' ', &pid) && span_to_u64(pid, INT_MAX, &value))
        *ret_pid = (int)value;
    if (span_cut(&rest, '\n', &base) && span_to_u64(base, PLACE_PORT_BASE_MAX, &value))
        *ret_port_base = (unsigned)value;
}

int place_lock(struct place *p, int *ret_pid)
{
    AUTO(fd_closep) int fd = open(place_path(p, "lock").text, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    unsigned ignored;
    char text[64];
    int n;

    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        *ret_pid = 0;
        read_holder(fd, ret_pid, &ignored);
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    }
    n = snprintf(text, sizeof(text), "%d %u\n", getpid(), p->port_base);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return -EIO;
    p->lock_fd = TAKE_FD(fd);
    return 0;
}

bool place_is_running(struct place *p, int *ret_pid)
{
    AUTO(fd_closep) int fd = open(place_path(p, "lock").text, O_RDONLY | O_CLOEXEC);

    *ret_pid = 0;
    if (fd < 0)
        return false;
    read_holder(fd, ret_pid, &p->port_base);
    return flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path) < 0 ? -errno : 0;
}

/* What is made here, and nothing else: what somebody else keeps in the directory stays. */
int place_reset(struct place *p)
{
    static const char *const ours[] = { "agent", "ca.pem", "controlplane", "credentials", "demo.curlrc",
                                        "demo.sock", "log", "relay" };
    enum { DESCRIPTORS = 16 };

    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        struct place_text path = place_path(p, ours[i]);
        int r = access(path.text, F_OK) < 0 ? 0
              : nftw(path.text, remove_entry, DESCRIPTORS, FTW_DEPTH | FTW_PHYS);

        if (r)
            return r < 0 ? r : -EIO;
    }
    return mkdir(place_path(p, "log").text, 0700) < 0 ? -errno : 0;
}

bool place_is_ours(const char *dir)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/lock", dir);

    return n > 0 && (size_t)n < sizeof(path) && access(path, F_OK) == 0;
}

static void tell_taken(const struct place *p, enum place_port port, struct buf *out)
{
    struct port_owner owner;
    struct passwd *user;

    buf_printf(out, "port %u (%s) is taken by ", place_port(p, port), place_port_what(port));
    if (!port_find_owner((uint16_t)place_port(p, port), &owner)) {
        buf_put_str(out, "a program that cannot be seen from here\n");
        return;
    }
    user = getpwuid(owner.uid);
    if (owner.pid)
        buf_printf(out, "%s (process %d", owner.name, owner.pid);
    else
        buf_put_str(out, "a program (");
    buf_printf(out, "%suser %s)\n", owner.pid ? ", " : "of ", user ? user->pw_name : "unknown");
}

bool place_ports_are_free(const struct place *p, struct buf *reterr)
{
    bool is_free = true;

    for (enum place_port port = 0; port < PORT_COUNT; port++) {
        if (port_probe((uint16_t)place_port(p, port)) != -EADDRINUSE)
            continue;
        tell_taken(p, port, reterr);
        is_free = false;
    }
    return is_free;
}
