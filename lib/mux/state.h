#pragma once
#include <stdbool.h>
#include <stdint.h>
/*
 * state.h - the life of a stream at one of its ends, as one table.
 *
 * Pure.  Where the bytes are is not in here: a stream may have lost its path in any state.
 * The entry opens and, at the end, says END; the target side answers and waits for END.
 *
 * Source     schema/tunnel.md, section "Life of a stream".
 */
enum stream_state {
    STREAM_OPENING,     /* entry: asked, no answer yet */
    STREAM_ASKED,       /* target side: the program has not answered yet */
    STREAM_REFUSING,    /* target side: OPEN_ERR has still to go out */
    STREAM_OPEN,
    STREAM_FIN_OUT,     /* the program ended its direction */
    STREAM_FIN_IN,      /* the peer ended its direction */
    STREAM_FIN_BOTH,    /* both; not yet agreed that all has arrived */
    STREAM_RESETTING,   /* the program reset; not yet agreed */
    STREAM_BROKEN,      /* the peer reset; our last frame has still to go out */
    STREAM_SETTLED,     /* nothing left to say on the wire; the program has bytes to take */
    STREAM_DEAD,
    STREAM_STATE_COUNT
};

enum stream_event {
    STREAM_EV_ACCEPT,   /* the program says yes, or OPEN_OK came */
    STREAM_EV_REFUSE,   /* the program says no */
    STREAM_EV_REFUSED,  /* OPEN_ERR came */
    STREAM_EV_FIN,      /* the program ended its direction */
    STREAM_EV_PEER_FIN,
    STREAM_EV_RESET,    /* the program, or a fault that we saw */
    STREAM_EV_PEER_RESET,
    STREAM_EV_SETTLED,  /* both ends know all they have to */
    STREAM_EV_LOST,     /* no path, and none will come */
    STREAM_EV_DRAINED,  /* the program has taken all */
    STREAM_EVENT_COUNT
};

/* The next state; false (nothing written): the event is not allowed here. */
bool stream_state_next(enum stream_state from, enum stream_event event,
                       enum stream_state *ret_state);
const char *stream_state_name(enum stream_state s);
/* The peer may still send DATA that counts. */
bool stream_state_is_receiving(enum stream_state s);
/* The program may still give bytes to send. */
bool stream_state_is_sending(enum stream_state s);
