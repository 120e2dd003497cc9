#include "lib/mux/state.h"

#define TO(s) ((s) + 1)         /* 0 in the table: not allowed */
#define REFUSE TO(STREAM_REFUSING)
#define OPEN TO(STREAM_OPEN)
#define FIN_O TO(STREAM_FIN_OUT)
#define FIN_I TO(STREAM_FIN_IN)
#define BOTH TO(STREAM_FIN_BOTH)
#define RESET TO(STREAM_RESETTING)
#define BROKEN TO(STREAM_BROKEN)
#define SETTLE TO(STREAM_SETTLED)
#define DEAD TO(STREAM_DEAD)

static const unsigned char next_state[STREAM_STATE_COUNT][STREAM_EVENT_COUNT] = {
    /*                     ACCEPT REFUSE  REFUSED FIN   P_FIN RESET P_RESET SETTLED LOST DRAINED */
    [STREAM_OPENING]   = { OPEN,  0,      SETTLE, 0,     0,     RESET, BROKEN, 0,      DEAD, 0 },
    [STREAM_ASKED]     = { OPEN,  REFUSE, 0,      0,     0,     0,     BROKEN, 0,      DEAD, 0 },
    [STREAM_REFUSING]  = { 0,     0,      0,      0,     0,     0,     BROKEN, SETTLE, DEAD, 0 },
    [STREAM_OPEN]      = { 0,     0,      0,      FIN_O, FIN_I, RESET, BROKEN, 0,      DEAD, 0 },
    [STREAM_FIN_OUT]   = { 0,     0,      0,      0,     BOTH,  RESET, BROKEN, 0,      DEAD, 0 },
    [STREAM_FIN_IN]    = { 0,     0,      0,      BOTH,  0,     RESET, BROKEN, 0,      DEAD, 0 },
    [STREAM_FIN_BOTH]  = { 0,     0,      0,      0,     0,     RESET, BROKEN, SETTLE, DEAD, 0 },
    [STREAM_RESETTING] = { 0,     0,      SETTLE, 0,     0,     0,     BROKEN, SETTLE, DEAD, 0 },
    [STREAM_BROKEN]    = { 0,     0,      0,      0,     0,     0,     0,      SETTLE, DEAD, 0 },
    [STREAM_SETTLED]   = { 0,     0,      0,      0,     0,     0,     0,      0,      DEAD, DEAD },
    [STREAM_DEAD]      = { 0,     0,      0,      0,     0,     0,     0,      0,      0,    0 },
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
