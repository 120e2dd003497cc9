#pragma once
#include <stdbool.h>
/*
 * tunnel_state.h - the life of a tunnel as a table.     Threads  no state of its own.
 */
enum tunnel_state {
    TUNNEL_NEW,                 /* the pipe is not open yet */
    TUNNEL_GREETING,            /* waits for the peer's HELLO */
    TUNNEL_HELD,                /* waits for the verdict: ours or the peer's */
    TUNNEL_UP,
    TUNNEL_CLOSING,
    TUNNEL_STATE_COUNT
};

enum tunnel_event {
    TUNNEL_EVENT_START,
    TUNNEL_EVENT_HELLO,
    TUNNEL_EVENT_ACCEPT,
    TUNNEL_EVENT_CLOSE,
    TUNNEL_EVENT_COUNT
};

/* False, and the state left as it is, when it does not allow the event. */
bool tunnel_next(enum tunnel_state *state, enum tunnel_event event);
