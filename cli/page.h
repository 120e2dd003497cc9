#pragma once
#include "lib/base/buf.h"
#include <sys/types.h>
/*
 * page.h - the demo page: what it says, out of what is known about one connection.
 *
 * The page cannot be told by the agent who it is: an agent carries bytes and alters none.
 * So it asks two others: the kernel, which process is at the other end of this Unix
 * connection, and the control plane, which grant and agent lead here (the decision that the
 * relay makes, by access/explain).  What could not be asked is said so.
 *
 * Threads    page_write() any.
 */
struct page_facts {
    const char *nonce;          /* made when the page's process started */
    pid_t peer;                 /* 0: not known */
    char peer_name[64];         /* "adit-agent" */
    char agent[96], grant[96];  /* names; "" not known */
    char problem[256];          /* why not */
};

void page_write(const struct page_facts *facts, struct buf *out);
