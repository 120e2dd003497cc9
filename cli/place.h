#pragma once
#include "lib/base/buf.h"
#include <limits.h>
#include <stdint.h>
/*
 * place.h - where one embedded Adit lives: its state directory, its ports, its lock.
 *
 * Shape      DIR/lock (pid and port base of who runs), DIR/credentials (admin), DIR/ca.pem,
 *            DIR/demo.curlrc, DIR/demo.sock, DIR/log/NAME.log, DIR/controlplane, DIR/relay,
 *            DIR/agent: the three programs' own; DIR/controlplane.yaml, relay.yaml, agent.yaml:
 *            further options for them, written by whoever wants to.
 * Files      the directory is 0700, secrets in it 0600.
 * Threads    one.
 */
#define PLACE_PORTS(X)                                          \
    X(API,           8443, "the REST API")                      \
    X(INTERNAL,      8444, "the control plane's relay door")    \
    X(CONTROL_ADMIN, 9100, "the control plane's health page")   \
    X(TUNNEL,        7443, "the relay's tunnel door")           \
    X(HTTP,          8080, "the HTTP proxy")                    \
    X(SOCKS,         1080, "the SOCKS5 proxy")                  \
    X(RELAY_ADMIN,   9101, "the relay's health page")

enum place_port {
#define PLACE_PORT(name, number, what) PORT_##name,
    PLACE_PORTS(PLACE_PORT)
#undef PLACE_PORT
    PORT_COUNT
};
#define PLACE_PORT_BASE_MAX (65535 - 9101)

struct place {
    char dir[PATH_MAX];         /* absolute, no '/' at its end */
    unsigned port_base;         /* added to every port */
    char public_host[256];      /* by which agents elsewhere reach this machine; "": they do not */
    int lock_fd;                /* -1: not held */
};

struct place_text {             /* a path or an address, by value */
    char text[PATH_MAX];
};

/* Makes the directory when `make`; otherwise -ENOENT when there is none. */
MUST_CHECK int place_open(const char *dir, unsigned port_base, bool make, struct place *ret_place);
void place_close(struct place *p);
/* DIR/name.  What does not fit comes back empty, which no file has as its name. */
struct place_text place_path(const struct place *p, const char *name);
unsigned place_port(const struct place *p, enum place_port port);
const char *place_port_what(enum place_port port);
/* "127.0.0.1:8080". */
struct place_text place_address(const struct place *p, enum place_port port);

/* Takes the lock.  -EBUSY: a running process has it; ret_pid says which (0: unknown). */
MUST_CHECK int place_lock(struct place *p, int *ret_pid);
/* Who runs here: false when nobody does.  port_base comes from who runs or ran last. */
bool place_is_running(struct place *p, int *ret_pid);
/* Removes what a run has made in the directory, but the lock.  With the lock held. */
MUST_CHECK int place_reset(struct place *p);
/* Whether somebody ran there before. */
bool place_is_ours(const char *dir);
/* True when all ports are free; otherwise a sentence for each taken one in reterr. */
bool place_ports_are_free(const struct place *p, struct buf *reterr);
