#include "agent/dial/brief.h"
#include "lib/base/attr.h"
#include "lib/base/span.h"

void brief_set(struct brief *b, const struct endpoint *e)
{
    brief_deinit(b);
    *b = (struct brief){ .kind = e->kind, .port = e->port, .addr = e->addr };
    if (e->kind == ENDPOINT_UNIX)
        b->path = span_dup(span_str(e->path));
}

struct endpoint brief_endpoint(const struct brief *b)
{
    struct endpoint e = { .kind = b->kind, .port = b->port, .addr = b->addr };

    if (b->path)
        (void)span_copy(span_str(b->path), e.path, sizeof(e.path));
    return e;
}

void brief_deinit(struct brief *b)
{
    free(TAKE(b->path));
}
