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
/* Closing sends an RST from now on, or no longer. */
void socket_set_abortive(int fd, bool is_on);
/* Bytes written and not yet acknowledged by the peer's kernel; 0 if unknown. */
size_t socket_unsent(int fd);
/* The kernel holds about twice that many bytes that we have not read, and no longer tunes it. */
void socket_bound_input(int fd, int bytes);
/* Lowest recent round trip and delivery rate; false: not TCP, or not known yet. */
bool socket_path(int fd, uint32_t *ret_rtt_us, uint64_t *ret_bytes_per_s);
