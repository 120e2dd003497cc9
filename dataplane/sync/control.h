#pragma once
#include "lib/http/http_client.h"
#include "lib/member/member.h"
/*
 * control.h - the relay's line to the control plane (schema/internal.md).
 *
 * Threads    control_new, control_free, control_send: the control loop.  control_ask: any
 *            thread; its answer comes on the loop that it names.
 * Limits     CONTROL_ASKS_MAX asked from other threads at a time.
 */
#define CONTROL_ASKS_MAX 1024

struct control;

struct control_config {
    struct loop *loop;
    const char *url;                /* "https://127.0.0.1:8444" */
    const struct member *member;
};

struct control_answer {
    unsigned status;                /* 0: no answer */
    enum reason reason;             /* of a problem; CONTROL_UNREACHABLE without an answer */
    struct span body;               /* for the call only */
    const char *text;               /* for a person */
};

typedef void control_fn(void *user, const struct control_answer *answer);

MUST_CHECK int control_new(const struct control_config *config, struct control **ret_control);
void control_free(struct control *c);           /* nobody is called after it */
DEFINE_FREEP(control, control_free)
/* `path` with its query.  `body` NONE: a GET.  Never answers within the call. */
MUST_CHECK int control_send(struct control *c, const char *path, struct span body, size_t answer_max,
                            uint32_t timeout_ms, control_fn *fn, void *user);
/* The same from a worker.  -EAGAIN: CONTROL_ASKS_MAX are under way. */
MUST_CHECK int control_ask(struct control *c, const char *path, struct span body, struct loop *answer_on,
                           control_fn *fn, void *user);
/* The certificate was renewed: connections made from now on show it. */
MUST_CHECK int control_set_certificate(struct control *c, const struct member *member);
struct loop *control_loop(const struct control *c);
