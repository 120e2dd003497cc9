#include "lib/tunnel/tunnel_state.h"

#define TO(s) ((s) + 1)         /* 0 in the table: not allowed */
/* clang-format off */
static const unsigned char next_state[TUNNEL_STATE_COUNT][TUNNEL_EVENT_COUNT] = {
    /*                     START                HELLO            ACCEPT         CLOSE */
    [TUNNEL_NEW]      = {  TO(TUNNEL_GREETING), 0,               0,             TO(TUNNEL_CLOSING) },
    [TUNNEL_GREETING] = {  0,                   TO(TUNNEL_HELD), 0,             TO(TUNNEL_CLOSING) },
    [TUNNEL_HELD]     = {  0,                   0,               TO(TUNNEL_UP), TO(TUNNEL_CLOSING) },
    [TUNNEL_UP]       = {  0,                   0,               0,             TO(TUNNEL_CLOSING) },
    [TUNNEL_CLOSING]  = {  0,                   0,               0,             0                  },
};
/* clang-format on */

bool tunnel_next(enum tunnel_state *state, enum tunnel_event event)
{
    unsigned char next = next_state[*state][event];

    if (!next)
        return false;
    *state = (enum tunnel_state)(next - 1);
    return true;
}
