#pragma once
#include "dataplane/doors/door.h"
/*
 * socks_door.h - SOCKS5 with user and password: CONNECT to IPv4, IPv6 and names, which
 * only the agent resolves.
 *
 * Source     RFC 1928, RFC 1929.
 */
extern const struct door_protocol socks_door;
