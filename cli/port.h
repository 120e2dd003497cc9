#pragma once
#include "lib/base/span.h"
#include <sys/types.h>
/*
 * port.h - is a TCP port free here, and if not, whose is it.
 *
 * Source     proc(5): /proc/net/tcp, tcp6 and the descriptors of processes.
 * Limits     an owner is found only where this user may look into it.
 * Threads    any.
 */
struct port_owner {
    pid_t pid;                  /* 0: not found */
    uid_t uid;                  /* of the socket; valid when is_listening */
    char name[32];              /* "nginx" */
    bool is_listening;          /* the kernel lists a listener */
};

/* 0: 127.0.0.1:port can be listened on; -EADDRINUSE; another -errno. */
MUST_CHECK int port_probe(uint16_t port);
/* Who listens on the port.  False: nobody, as far as can be seen. */
bool port_find_owner(uint16_t port, struct port_owner *ret_owner);
/* One line of /proc/net/tcp or tcp6: true when it is a listener on the port. */
bool port_line_listens(struct span line, uint16_t port, uint64_t *ret_inode, uid_t *ret_uid);
