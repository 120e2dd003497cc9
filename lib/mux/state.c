#include "lib/mux/state.h"

#define TO(s) ((s) + 1)         /* 0 in the table: not allowed */
#define REFUSING TO(STREAM_REFUSING)
#define OPEN TO(STREAM_OPEN)
#define FIN_OUT TO(STREAM_FIN_OUT)
#define FIN_IN TO(STREAM_FIN_IN)
#define BOTH TO(STREAM_FIN_BOTH)
#define RESETTING TO(STREAM_RESETTING)
#define BROKEN TO(STREAM_BROKEN)
#define SETTLED TO(STREAM_SETTLED)
#define DEAD TO(STREAM_DEAD)

static const unsigned char next_state[STREAM_STATE_COUNT][STREAM_EVENT_COUNT] = {
/*                         ACCEPT REFUSE    REFUSED  FIN      PEER_FIN RESET      PEER_RESET SETTLED  LOST  DRAINED */
    [STREAM_OPENING]   = { OPEN,  0,        SETTLED, 0,       0,       RESETTING, BROKEN,    0,       DEAD, 0 },
    [STREAM_ASKED]     = { OPEN,  REFUSING, 0,       0,       0,       0,         BROKEN,    0,       DEAD, 0 },
    [STREAM_REFUSING]  = { 0,     0,        0,       0,       0,       0,         BROKEN,    SETTLED, DEAD, 0 },
    [STREAM_OPEN]      = { 0,     0,        0,       FIN_OUT, FIN_IN,  RESETTING, BROKEN,    0,       DEAD, 0 },
    [STREAM_FIN_OUT]   = { 0,     0,        0,       0,       BOTH,    RESETTING, BROKEN,    0,       DEAD, 0 },
    [STREAM_FIN_IN]    = { 0,     0,        0,       BOTH,    0,       RESETTING, BROKEN,    0,       DEAD, 0 },
    [STREAM_FIN_BOTH]  = { 0,     0,        0,       0,       0,       RESETTING, BROKEN,    SETTLED, DEAD, 0 },
    [STREAM_RESETTING] = { 0,     0,        SETTLED, 0,       0,       0,         BROKEN,    SETTLED, DEAD, 0 },
    [STREAM_BROKEN]    = { 0,     0,        0,       0,       0,       0,         0,         SETTLED, DEAD, 0 },
    [STREAM_SETTLED]   = { 0,     0,        0,       0,       0,       0,         0,         0,       DEAD, DEAD },
    [STREAM_DEAD]      = { 0,     0,        0,       0,       0,       0,         0,         0,       0,    0 },
};

static const char *const names[STREAM_STATE_COUNT] = {
    "opening", "asked", "refusing", "open", "fin-out", "fin-in",
    "fin-both", "resetting", "broken", "settled", "dead",
};

bool stream_state_next(enum stream_state from, enum stream_event event,
                       enum stream_state *ret_state)
{
    unsigned char to = next_state[from][event];

    if (!to)
        return false;
    *ret_state = (enum stream_state)(to - 1);
    return true;
}

const char *stream_state_name(enum stream_state s)
{
    return s < STREAM_STATE_COUNT ? names[s] : "?";
}

bool stream_state_is_receiving(enum stream_state s)
{
    return s == STREAM_OPEN || s == STREAM_FIN_OUT;
}

bool stream_state_is_sending(enum stream_state s)
{
    return s == STREAM_OPEN || s == STREAM_FIN_IN;
}
