#pragma once
#include "lib/base/addr.h"
#include <stdbool.h>
#include <sys/socket.h>
/*
 * socket.h - endpoints to socket addresses and back, and what the kernel knows of a socket.
 *
 * Threads    no state.
 */
socklen_t sockaddr_from_endpoint(const struct endpoint *e, struct sockaddr_storage *ret_sa);
struct endpoint endpoint_from_sockaddr(const struct sockaddr_storage *sa, socklen_t len);
struct endpoint socket_peer(int fd);            /* ENDPOINT_NONE if unknown */
struct endpoint socket_local(int fd);
/* Non-blocking; TCP: no delay, keep-alive (45 s, 3 x 15 s).  What fails is left as it is. */
void socket_tune(int fd);
void socket_set_options(int fd);                /* the same for one that does not block already */
/* Closing sends an RST from now on, or no longer. */
void socket_set_abortive(int fd, bool is_on);
/* Bytes written and not yet acknowledged by the peer's kernel; 0 if unknown. */
size_t socket_unsent(int fd);
/* The kernel holds about twice that many bytes that we have not read, and no longer tunes it. */
void socket_bound_input(int fd, int bytes);
/* The kernel takes about so many bytes beyond what it may send at once: what a slow reader would
 * otherwise make it hold is megabytes. */
void socket_bound_output(int fd, int bytes);
/* What the kernel measures of a TCP path. */
struct socket_path { uint32_t lowest_rtt_us, rtt_us /* smoothed */; uint64_t bytes_per_s; };
bool socket_path(int fd, struct socket_path *ret_path);     /* false: not TCP, or not known yet */
/* Whether the machine has a route to the address.  Nothing is sent. */
bool socket_has_route(const struct addr *a);
/* From which of its addresses the machine would dial it; false: there is no route. */
bool socket_source_to(const struct addr *a, struct addr *ret_source);
