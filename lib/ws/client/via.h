#pragma once
#include "lib/net/conn.h"
/*
 * via.h - a TCP connection through an HTTP proxy: CONNECT, its answer, then the plain socket.
 *
 * One try, at one address of the proxy.  The answer's head is at most VIA_HEAD_MAX bytes, and
 * nothing may follow it: whoever is behind speaks TLS, where the client speaks first.
 *
 * Units      milliseconds.
 * Ownership  via_free() at any time, in the handlers too; no handler is called after it.  The
 *            descriptor is the user's from on_done on.
 * Threads    its loop's thread.  No handler is called within via_dial().
 * Secrets    credentials are wiped when CONNECT has been sent, and are in no text.
 * Source     RFC 9110 section 9.3.6, RFC 7617.
 */
#define VIA_HEAD_MAX 8192

struct via;

struct via_config {
    struct loop *loop;
    struct endpoint to;             /* an address of the proxy */
    const char *authority;          /* "relay.example:7443", "[2001:db8::1]:7443" */
    const char *credentials;        /* "user:password"; "" or NULL: none */
    uint32_t answer_ms;             /* to connect in, and again to be answered in; 0: 10,000 */
};

struct via_handlers {
    void (*on_done)(void *user, int fd);
    /* `why`: one of REASON_UPLINK_PROXY_*. */
    void (*on_failed)(void *user, enum reason why, const char *text);
};

MUST_CHECK int via_dial(const struct via_config *config, const struct via_handlers *handlers,
                        void *user, struct via **ret_via);
void via_free(struct via *v);       /* NULL does nothing */
