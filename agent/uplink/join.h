#pragma once
#include "lib/member/member.h"
#include "lib/net/loop.h"
#include "lib/net/proxy.h"
/*
 * join.h - makes this machine an agent: one token, one outbound connection.
 *
 * The relay's certificate must hang below the root that the token pins, so nobody on the
 * way can pose as the cluster; the token's secret stays here, only a MAC of the request
 * travels; the key is made here and stays.
 *
 * Proxy      NULL: none.
 * Errors     -errno with what happened and the cure in reterr.
 * Threads    runs a loop of its own until it is done, at the most timeout_ms for each address.
 */
MUST_CHECK int join_run(struct member *member, const struct join_token *token, const struct proxy *proxy,
                        uint32_t timeout_ms, struct buf *reterr);
