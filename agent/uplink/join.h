#pragma once
#include "agent/uplink/way.h"
#include "lib/net/loop.h"
/*
 * join.h - makes this machine an agent: one token, one outbound connection.
 *
 * The relay's certificate must hang below the root that the token pins, so nobody on the
 * way can pose as the cluster; the token's secret stays here, only a MAC of the request
 * travels; the key is made here and stays.
 *
 * Where a proxy ends TLS (way.h), that proxy is believed to lead to the cluster: the certificate
 * that comes back must hang below the pinned root all the same.
 * Errors     -errno with what happened and the cure in reterr.
 * Threads    runs a loop of its own until it is done, at the most timeout_ms for each address.
 */
MUST_CHECK int join_run(struct member *member, const struct join_token *token, const struct way *way,
                        uint32_t timeout_ms, struct buf *reterr);
